"""`edge-sim sweep FILE...`: scenarios as questions, all their points and seeds, and whether it came out as expected."""

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ValidationError

from edge.config import write_text
from edge.errors import ConfigError
from edge_report import figures, formats
from edge_report.document import Cell, Section, fixed, seconds, size
from edge_report.finding import Finding, Progress, cores, mean, spread
from edge_report.flags import at_least_one
from edge_sim import jobs, study
from edge_sim.result import Result
from edge_sim.study import Study

TEXT = "Run the variants and the grid of scenario files in parallel; resume, compare, draw, check what was expected."

Planned = tuple[str, str, jobs.Job]
"""a point's label, the name of the run's file, the run"""


class Point(BaseModel):
    """One setting over the seeds. curve: (round, mean accuracy); measures: as `edge_sim.study.measures`."""

    label: str
    mean_accuracy: list[float]
    measures: dict[str, float]
    curve: list[tuple[float, float]]


class Verdict(BaseModel):
    """One expectation, and what it was read from."""

    say: str
    value: float
    wanted: str
    holds: bool


class Answer(BaseModel):
    """One file's."""

    name: str
    question: str
    seeds: int
    points: list[Point]
    verdicts: list[Verdict]


class Sweep(Finding):
    """All files'."""

    command: str = "sweep"
    answers: list[Answer]
    resumed: int
    """runs that were there already"""


FINDING = Sweep


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a sweep."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.toml", help="scenarios, as in scenarios/")
    parser.add_argument("--seeds", type=int, metavar="N", help="instead of what the files say")
    parser.add_argument("--rounds", type=int, metavar="N", help="instead of what the files say; a shorter look")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="keep every run there, and go on from what is there")
    parser.add_argument("--workers", type=int, default=cores(), metavar="N", help="processes; one a core")


def run(args: argparse.Namespace, progress: Progress) -> Sweep:
    """Run what is not there yet, and compare. Raises ConfigError."""
    over = {} if args.rounds is None else {"rounds": args.rounds}
    wrong: list[str] = []
    studies: list[Study] = []
    for path in args.files:
        try:
            studies.append(study.read(path, over))
        except ConfigError as reason:
            wrong.append(str(reason))
    if wrong:
        raise ConfigError(" | ".join(wrong))
    workers = at_least_one(args, "workers")
    if args.seeds is not None:
        seeds = at_least_one(args, "seeds")
        studies = [one.model_copy(update={"seeds": seeds}) for one in studies]
    if args.out:
        try:
            args.out.mkdir(parents=True, exist_ok=True)
        except OSError as reason:
            raise ConfigError(f"--out {args.out}: {reason.strerror}") from None
    plans = [list(_jobs(one)) for one in studies]
    todo = {name: job for plan in plans for _, name, job in plan}
    found = {name: result for name, job in todo.items() if (result := _kept(args.out, name, job))}
    resumed = len(found)
    progress(resumed, len(todo), "starting")
    left = [job for name, job in todo.items() if name not in found]
    for outcome in jobs.perform_all(left, workers):
        name = _name(outcome.job)
        found[name] = outcome.result
        if args.out:
            write_text(args.out / f"{name}.json", outcome.result.model_dump_json(indent=1) + "\n")
        progress(len(found), len(todo), outcome.job.name)
    made = Sweep(answers=[_answer(one, plan, found) for one, plan in zip(studies, plans, strict=True)], resumed=resumed)
    if args.out:
        for kind in ("html", "csv"):
            path = args.out / f"sweep.{kind}"
            write_text(path, formats.load(path).render(sections(made), made))
    return made


def _jobs(one: Study) -> Iterator[Planned]:
    for label, point in one.points.items():
        for seed in range(one.seeds):
            values = study.scenario(point, seed).model_dump(mode="json")
            job = jobs.Job(f"{one.name}: {label}", values["seed"], values)
            yield label, _name(job), job


def _name(job: jobs.Job) -> str:
    """Of its file: the same setting has the same name, any other has another."""
    text = json.dumps(job.scenario, sort_keys=True)
    plain = "".join(c if c.isalnum() else "-" for c in job.name)[:60]
    return f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def _kept(folder: Path | None, name: str, job: jobs.Job) -> Result | None:
    """What an earlier sweep has left of it, whole."""
    if folder is None:
        return None
    try:
        found = Result.model_validate_json((folder / f"{name}.json").read_text())
    except (OSError, ValidationError):
        return None
    return found if found.scenario == job.scenario and not found.interrupted else None


def _answer(one: Study, plan: Sequence[Planned], found: Mapping[str, Result]) -> Answer:
    by_label: dict[str, list[Result]] = {}
    for label, name, _ in plan:
        by_label.setdefault(label, []).append(found[name])
    measured = {label: study.measures(results) for label, results in by_label.items()}
    return Answer(
        name=one.name,
        question=one.question,
        seeds=one.seeds,
        points=[_point(label, results, measured[label]) for label, results in by_label.items()],
        verdicts=[_verdict(e, e.value(measured)) for e in one.expect],
    )


def _point(label: str, results: list[Result], measured: dict[str, float]) -> Point:
    curves: dict[int, list[float]] = {}
    for result in results:
        for one in result.rounds:
            if one.accuracy_all is not None:
                curves.setdefault(one.round, []).append(one.accuracy_all)
    return Point(
        label=label,
        mean_accuracy=[r.mean_accuracy for r in results],
        measures=measured,
        curve=[(number, mean(values)) for number, values in sorted(curves.items())],
    )


def _verdict(expected: study.Expectation, value: float) -> Verdict:
    what = "ratio" if expected.ratio else "difference" if expected.than else expected.measure.replace("_", " ")
    limits = [
        f"{word} {limit:g}"
        for word, limit in (("at least", expected.at_least), ("at most", expected.at_most))
        if limit is not None
    ]
    return Verdict(say=expected.say, value=value, wanted=f"{what} {' and '.join(limits)}", holds=expected.holds(value))


def sections(found: Sweep) -> list[Section]:
    """A table, the verdicts and a picture of every question."""
    return [section for answer in found.answers for section in _sections(answer)]


def _sections(answer: Answer) -> Iterator[Section]:
    yield Section(
        answer.name,
        answer.question or answer.name,
        lead=f"{answer.name}.toml, {answer.seeds} seed{'s' if answer.seeds > 1 else ''} each.",
        columns=("setting", "accuracy", "worst", "own classes", "payload", "virtual time"),
        rows=[_line(point) for point in answer.points],
        picture=partial(figures.lines, {p.label: p.curve for p in answer.points}, "round", "mean accuracy"),
    )
    if answer.verdicts:
        yield Section(
            f"{answer.name}-expected",
            f"What was expected: {sum(v.holds for v in answer.verdicts)} of {len(answer.verdicts)} hold",
            columns=("expected", "found", "wanted", "value"),
            rows=[(v.say, "holds" if v.holds else "fails", v.wanted, fixed(v.value)) for v in answer.verdicts],
            words=3,
        )


def _line(point: Point) -> tuple[Cell, ...]:
    of = point.measures
    return (
        point.label,
        spread(point.mean_accuracy),
        fixed(of["worst_accuracy"]),
        fixed(of["mean_accuracy_own"]),
        size(of["payload_bytes_per_device"]),
        seconds(of["virtual_seconds"]) if of["virtual_seconds"] else "",
    )
