"""(epsilon, delta) of a device that publishes noisy soft labels, by the accountants of dp-accounting.

A round is one release of `rows` distributions, calibrated to what all of a device's data can change (`edge.privacy`);
rounds compose adaptively. Gaussian by Renyi divergences, Laplace by privacy loss distributions.
"""

from collections.abc import Sequence

from pydantic import BaseModel

from edge import privacy
from edge.errors import ConfigError
from edge_report.finding import Finding


class Budget(BaseModel):
    """Of one kind of noise."""

    noise: str
    rows: int
    rounds: int
    delta: float
    epsilon: float | None
    """none, if no accountant gives a finite one"""


class Budgets(Finding):
    """Side by side."""

    command: str = "privacy"
    lines: list[Budget]


def measure(noises: Sequence[str], *, rows: int, rounds: int, delta: float) -> Budgets:
    """Raises ConfigError: numbers that cannot be, or dp-accounting is not there."""
    if rows < 1 or rounds < 1 or not 0 < delta < 1:
        raise ConfigError("expected at least one row and one round, and a delta between 0 and 1")
    lines = [
        Budget(noise=n, rows=rows, rounds=rounds, delta=delta, epsilon=epsilon(n, rows, rounds, delta)) for n in noises
    ]
    return Budgets(lines=lines)


def epsilon(noise: str, rows: int, rounds: int, delta: float) -> float | None:
    """Of `rounds` releases of `rows` rows each."""
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
    found = float(accountant.compose(event, rounds).get_epsilon(delta))
    return found if found < float("inf") else None
