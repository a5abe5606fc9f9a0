"""`edge-sim sweep FILE...`: scenarios as questions, all their points and seeds, and the expected outcome checked."""

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ValidationError

from edge.config import write_text
from edge.errors import ConfigError
from edge.task import CLASSIFICATION
from edge_report import figures, flags, formats
from edge_report.document import Cell, Section, fixed, seconds, size
from edge_report.finding import Finding, Progress, cores, mean, spread
from edge_report.specs import CommandSpec
from edge_sim import jobs, study
from edge_sim.result import Result
from edge_sim.study import Study

Planned = tuple[str, str, jobs.Job]
"""a point's label, the name of the run's file, the run"""


class SweepPoint(BaseModel):
    """One setting over the seeds. curve: (round, mean accuracy); measures: as `edge_sim.study.measures`."""

    label: str
    mean_accuracy: list[float]
    measures: dict[str, float]
    curve: list[tuple[float, float]]


class ExpectationCheck(BaseModel):
    """One expectation, and what it was read from."""

    say: str
    value: float
    wanted: str
    holds: bool


class Answer(BaseModel):
    """The answer to one file's question."""

    name: str
    question: str
    seeds: int
    metric: str = CLASSIFICATION.metric
    """what its accuracies are values of: the metric of the task"""
    points: list[SweepPoint]
    verdicts: list[ExpectationCheck]


class Sweep(Finding):
    """The answers to all files. resumed: how many runs were there already."""

    command: str = "sweep"
    answers: list[Answer]
    resumed: int


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `CommandSpec.arguments`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.toml", help="scenarios, as in scenarios/")
    flags.add_count(parser, "--seeds", None, "seeds of every point (default: as the files say)")
    flags.add_count(parser, "--rounds", None, "rounds of every run, for a shorter look (default: as the files say)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="keep every run here, and resume from what is here")
    flags.add_count(parser, "--workers", cores(), "processes")


def run(args: argparse.Namespace, progress: Progress) -> Sweep:
    """Run what is not there yet, and compare. See `CommandSpec.run`."""
    studies = _read(args.files, {} if args.rounds is None else {"rounds": args.rounds}, args.seeds)
    if args.out:
        try:
            args.out.mkdir(parents=True, exist_ok=True)
        except OSError as reason:
            raise ConfigError(f"--out {args.out}: {reason.strerror}") from None
    plans = [list(_jobs(one)) for one in studies]
    todo = {name: job for plan in plans for _, name, job in plan}
    results = {name: result for name, job in todo.items() if (result := _kept(args.out, name, job))}
    resumed = len(results)
    progress(resumed, len(todo), "starting")
    for outcome in jobs.perform_all([job for name, job in todo.items() if name not in results], args.workers):
        name = _name(outcome.job)
        results[name] = outcome.result
        if args.out:
            write_text(args.out / f"{name}.json", outcome.result.model_dump_json(indent=1) + "\n")
        progress(len(results), len(todo), outcome.job.name)
    answers = [_answer(one, plan, results) for one, plan in zip(studies, plans, strict=True)]
    sweep = Sweep(answers=answers, resumed=resumed)
    if args.out:
        for kind in ("html", "csv"):
            path = args.out / f"sweep.{kind}"
            write_text(path, formats.load(path).render(sections(sweep), sweep))
    return sweep


def _read(paths: Sequence[Path], over: Mapping[str, object], seeds: int | None) -> list[Study]:
    """Read all files. Raises ConfigError: everything that is wrong with any of them."""
    problems: list[str] = []
    studies: list[Study] = []
    for path in paths:
        try:
            studies.append(study.read(path, over))
        except ConfigError as reason:
            problems.append(str(reason))
    if problems:
        raise ConfigError(" | ".join(problems))
    return studies if seeds is None else [one.model_copy(update={"seeds": seeds}) for one in studies]


def _jobs(one: Study) -> Iterator[Planned]:
    for label, point in one.points.items():
        for seed in range(one.seeds):
            values = study.scenario(point, seed).model_dump(mode="json")
            job = jobs.Job(f"{one.name}: {label}", values["seed"], values)
            yield label, _name(job), job


def _name(job: jobs.Job) -> str:
    """Name the file of a run: the same setting has the same name, any other has another."""
    text = json.dumps(job.scenario, sort_keys=True)
    plain = "".join(c if c.isalnum() else "-" for c in job.name)[:60]
    return f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def _kept(folder: Path | None, name: str, job: jobs.Job) -> Result | None:
    """Return the result of a run that an earlier sweep has finished, if it is there."""
    if folder is None:
        return None
    try:
        result = Result.model_validate_json((folder / f"{name}.json").read_text())
    except (OSError, ValidationError):
        return None
    return result if result.scenario == job.scenario and not result.interrupted else None


def _answer(one: Study, plan: Sequence[Planned], results: Mapping[str, Result]) -> Answer:
    by_label: dict[str, list[Result]] = {}
    for label, name, _ in plan:
        by_label.setdefault(label, []).append(results[name])
    measured = {label: study.measures(several) for label, several in by_label.items()}
    return Answer(
        name=one.name,
        question=one.question,
        seeds=one.seeds,
        metric=next((r.metric for several in by_label.values() for r in several), CLASSIFICATION.metric),
        points=[_point(label, several, measured[label]) for label, several in by_label.items()],
        verdicts=[_check(e, e.value(measured)) for e in one.expect],
    )


def _point(label: str, results: list[Result], measured: dict[str, float]) -> SweepPoint:
    curves: dict[int, list[float]] = {}
    for result in results:
        for one in result.rounds:
            if one.accuracy_all is not None:
                curves.setdefault(one.round, []).append(one.accuracy_all)
    return SweepPoint(
        label=label,
        mean_accuracy=[r.mean_accuracy for r in results],
        measures=measured,
        curve=[(number, mean(values)) for number, values in sorted(curves.items())],
    )


def _check(expected: study.Expectation, value: float) -> ExpectationCheck:
    measure = "ratio" if expected.ratio else "difference" if expected.than else expected.measure.replace("_", " ")
    limits = [
        f"{word} {limit:g}"
        for word, limit in (("at least", expected.at_least), ("at most", expected.at_most))
        if limit is not None
    ]
    return ExpectationCheck(
        say=expected.say, value=value, wanted=f"{measure} {' and '.join(limits)}", holds=expected.holds(value)
    )


def sections(sweep: Sweep) -> list[Section]:
    """Show a table, the checks and a picture for every question."""
    return [section for answer in sweep.answers for section in _sections(answer)]


def _sections(answer: Answer) -> Iterator[Section]:
    yield Section(
        answer.name,
        answer.question or answer.name,
        lead=f"{answer.name}.toml, {answer.seeds} seed{'s' if answer.seeds > 1 else ''} each.",
        columns=("setting", answer.metric, "worst", "own classes", "payload", "virtual time"),
        rows=[_row(point) for point in answer.points],
        picture=partial(figures.lines, {p.label: p.curve for p in answer.points}, "round", f"mean {answer.metric}"),
    )
    if answer.verdicts:
        yield Section(
            f"{answer.name}-expected",
            f"Expectations: {sum(c.holds for c in answer.verdicts)} of {len(answer.verdicts)} checks passed",
            columns=("expectation", "check", "limits", "value"),
            rows=[(c.say, "passed" if c.holds else "failed", c.wanted, fixed(c.value)) for c in answer.verdicts],
            words=3,
        )


def _row(point: SweepPoint) -> tuple[Cell, ...]:
    of = point.measures
    return (
        point.label,
        spread(point.mean_accuracy),
        fixed(of["worst_accuracy"]),
        fixed(of["mean_accuracy_own"]),
        size(of["payload_bytes_per_device"]),
        seconds(of["virtual_seconds"]) if of["virtual_seconds"] else "",
    )


SPEC = CommandSpec(
    text="Run the variants and the grid of scenario files in parallel; resume, compare, draw, check expectations.",
    finding=Sweep,
    arguments=arguments,
    run=run,
    sections=sections,
)
