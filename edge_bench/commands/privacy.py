"""`edge-bench privacy`: (epsilon, delta) of a device that publishes noisy soft labels, by dp-accounting's accountants.

A round is one release of `rows` distributions, calibrated to what all of a device's data can change (`edge.privacy`);
rounds compose adaptively. Gaussian noise is accounted for by Renyi divergences, Laplace noise by privacy loss
distributions.
"""

import argparse
from collections.abc import Sequence

from pydantic import BaseModel

from edge import privacy
from edge.errors import ConfigError
from edge_report import flags
from edge_report.document import Number, Section
from edge_report.finding import Finding, Progress
from edge_report.flags import DEFAULT
from edge_report.specs import CommandSpec


class Budget(BaseModel):
    """The privacy that one kind of noise buys. epsilon: none if no accountant gives a finite one."""

    noise: str
    rows: int
    rounds: int
    delta: float
    epsilon: float | None


class Budgets(Finding):
    """Several kinds of noise, side by side."""

    command: str = "privacy"
    lines: list[Budget]


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `CommandSpec.arguments`."""
    noises = "gaussian:1,gaussian:10,laplace:10"
    parser.add_argument("--noise", default=noises, metavar="NAME:SCALE,...", help="kinds of noise" + DEFAULT)
    flags.add_count(parser, "--rows", 300, "rows of the reference set, or of its subset", "R")
    flags.add_count(parser, "--rounds", 100, "rounds in which they are published", "T")
    parser.add_argument("--delta", type=float, default=1e-5, metavar="D", help="between 0 and 1" + DEFAULT)


def run(args: argparse.Namespace, _progress: Progress) -> Budgets:
    """See `CommandSpec.run`."""
    return measure(flags.words(args.noise), rows=args.rows, rounds=args.rounds, delta=args.delta)


def measure(noises: Sequence[str], *, rows: int, rounds: int, delta: float) -> Budgets:
    """Account for each kind of noise. Raises ConfigError: numbers that cannot be, or dp-accounting is not installed."""
    if rows < 1 or rounds < 1 or not 0 < delta < 1:
        raise ConfigError("expected at least one row and one round, and a delta between 0 and 1")
    lines = [
        Budget(noise=n, rows=rows, rounds=rounds, delta=delta, epsilon=epsilon(n, rows, rounds, delta)) for n in noises
    ]
    return Budgets(lines=lines)


def epsilon(noise: str, rows: int, rounds: int, delta: float) -> float | None:
    """Compute epsilon of `rounds` releases of `rows` rows each, at this delta; none if it is infinite."""
    name, scale = privacy.parse(noise)
    try:
        import dp_accounting as dp
        from dp_accounting import pld, rdp
    except ImportError:
        raise ConfigError("the accountants are in dp-accounting: pip install 'murmur-edge[privacy]'") from None
    multiplier = scale / privacy.find_noise(name).sensitivity(rows)
    if name == "gaussian":
        accountant, event = rdp.RdpAccountant(), dp.GaussianDpEvent(multiplier)
    else:
        accountant, event = pld.PLDAccountant(), dp.LaplaceDpEvent(multiplier)
    value = float(accountant.compose(event, rounds).get_epsilon(delta))
    return value if value < float("inf") else None


def sections(budgets: Budgets) -> list[Section]:
    """Show a table."""
    first = budgets.lines[0]
    return [
        Section(
            "epsilon",
            f"{first.rows} rows in {first.rounds} rounds, delta {first.delta:g}, for all that a device holds",
            columns=("noise", "epsilon"),
            rows=[
                (x.noise, "infinite" if x.epsilon is None else Number(x.epsilon, f"{x.epsilon:.4g}"))
                for x in budgets.lines
            ],
            after="An epsilon above 10 or so promises very little.",
        )
    ]


SPEC = CommandSpec(
    text="Account for the privacy that noise on published rows buys: epsilon, by dp-accounting.",
    finding=Budgets,
    arguments=arguments,
    run=run,
    sections=sections,
)
