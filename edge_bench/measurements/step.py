"""One training step, side by side in one process: every engine that is installed, and PyTorch where it is.

One thread each, SGD, cross-entropy, the same model, start and batch. They take turns of BURST steps, so that a noisy
neighbour slows all of them alike (`edge_bench.intervals`); of each burst the median counts.

    pytorch    eager, as a user would write it (`edge_bench.twin`)
    pytorch-channels-last   the same with images and filters channels last, and fused SGD: what its own guide advises
    onnx-runtime-stock      our engine without the compiled kernels, where they are installed
    compiled   the same through torch.compile
    trainer    `edge.Trainer`, what it costs over the engine it runs
    product    a square matrix product of PRODUCT rows: its speed counts as this processor's peak
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pydantic import BaseModel

from edge import Trainer
from edge.engines import ENGINES
from edge.errors import ConfigError, MurmurError
from edge.interfaces import Array
from edge_bench.intervals import BURST, in_turns
from edge_bench.models import CLASSES, RATE, SHAPES
from edge_report.finding import Finding, Progress
from export import zoo
from export.model import Model
from export.report.cost import cost
from export.training.assemble import assemble
from export.write import export

PRODUCT = 1024
ENGINE = "onnx-runtime"
"""the engine that `edge.Trainer` runs"""
TORCH, COMPILED, PEAK, TRAINER = "pytorch", "compiled", "product", "trainer"
CHANNELS_LAST, STOCK = "pytorch-channels-last", "onnx-runtime-stock"
AGAINST = {"torch": TORCH, "torch-channels-last": CHANNELS_LAST, "torch-compile": COMPILED}
"""word of `--against` -> contender"""
Step = Callable[[], object]


class StepRow(BaseModel):
    """One contender on one job. step_seconds: medians of the bursts."""

    model: str
    batch: int
    name: str
    step_seconds: list[float]
    macs_per_second: float


class Steps(Finding):
    """All contenders on all jobs. left_out: contender -> why it is not in all of them."""

    command: str = "step"
    lines: list[StepRow]
    left_out: dict[str, str]


def contenders(against: Sequence[str] = ("torch",)) -> list[str]:
    """Return the names of those who take part: all engines, and others.

    Args:
        against: keys of AGAINST.

    Raises:
        ConfigError: an unknown one.
    """
    if unknown := [name for name in against if name not in AGAINST]:
        raise ConfigError(f"unknown opponent '{unknown[0]}'; there are: {', '.join(AGAINST)}")
    stock = [STOCK] if find_spec("murmur_kernels") else []
    return [*ENGINES.names(), *stock, *(AGAINST[name] for name in against)]


def measure(
    specs: Sequence[str],
    batches: Sequence[int],
    *,
    seconds: float,
    names: Sequence[str] = (),
    progress: Progress = lambda *_: None,
) -> Steps:
    """Measure every pair of a model and a batch.

    Args:
        specs: models, keys of `edge_bench.models.SHAPES`.
        batches: rows of a step.
        seconds: for each pair.
        names: of contenders; all engines and PyTorch if empty.
        progress: called before each pair.

    Raises:
        ConfigError: a model that is not there.
    """
    if unknown := [spec for spec in specs if spec not in SHAPES]:
        raise ConfigError(f"unknown model '{unknown[0]}'; there are: {', '.join(SHAPES)}")
    lines: list[StepRow] = []
    left_out: dict[str, str] = {}
    names = names or contenders()
    todo = list(product(specs, batches))
    for done, (spec, batch) in enumerate(todo):
        progress(done, len(todo), f"{spec}, batch {batch}")
        model = zoo.build(spec, shape=SHAPES[spec], classes=CLASSES)
        with TemporaryDirectory() as folder:
            times = in_turns(dict(_contenders(names, model, batch, Path(folder), left_out)), seconds)
        macs = sum(cost(assemble(model).train, {"N": batch, "rows": batch}).macs.values())
        for name, durations in times.items():
            bursts = [statistics.median(durations[i : i + BURST]) for i in range(0, len(durations), BURST)]
            speed = (PRODUCT**3 if name == PEAK else macs) / statistics.median(bursts)
            lines.append(StepRow(model=spec, batch=batch, name=name, step_seconds=bursts, macs_per_second=speed))
    return Steps(lines=lines, left_out=left_out)


def _contenders(
    names: Sequence[str], model: Model, batch: int, folder: Path, left_out: dict[str, str]
) -> Iterator[tuple[str, Step]]:
    """Yield (name, its step on one and the same batch); note in `left_out` who cannot take part."""
    random = np.random.default_rng(0)
    x: Array = random.random((batch, *model.shape), np.float32)
    labels: Array = random.integers(0, CLASSES, batch)
    for name in names:
        try:
            if name == PEAK:
                yield name, _product()
                continue
            if name in (TORCH, COMPILED, CHANNELS_LAST):
                form = {"compiled": name == COMPILED, "channels_last": name == CHANNELS_LAST}
                yield name, torch_step(model, x, labels, **form)
                continue
            if name == TRAINER:
                yield name, _trainer_step(model, folder / name, x, labels)
                continue
            spec = ENGINES.load(ENGINE if name == STOCK else name)
            bundle = export(model, folder / name, rows=spec.rows([batch]), official=spec.official)
            stock = spec.with_options if name == STOCK else None
            engine = stock(bundle, {"kernels": False}) if stock else spec.create(bundle)
            yield name, partial(engine.step, {"x": x, "labels": labels}, learning_rate=RATE)
        except ModuleNotFoundError as reason:
            left_out[name] = f"{reason.name} is not installed"
        except MurmurError as reason:
            left_out[name] = f"{model.name}: {' '.join(str(reason).split())}"


def _trainer_step(model: Model, folder: Path, x: Array, labels: Array) -> Step:
    """A step as an application takes it: with its schedule, and safe for other threads."""
    trainer = Trainer(export(model, folder), learning_rate=RATE, schedule="warm-up:10+cosine:100000")
    return partial(trainer.step, (x, labels))


def torch_step(model: Model, x: Array, y: Array, *, compiled: bool = False, channels_last: bool = False) -> Step:
    """Prepare a step of PyTorch on this batch; it reads its loss back, as ours does. Raises ModuleNotFoundError."""
    import torch

    from edge_bench.twin import Twin

    torch.set_num_threads(1)
    twin = Twin(model)
    xt, yt = torch.from_numpy(x), torch.from_numpy(y)
    if channels_last:
        twin.channels_last()
        xt = xt.contiguous(memory_format=torch.channels_last) if xt.dim() == 4 else xt
    optimizer = torch.optim.SGD(twin.parameters(), lr=RATE, fused=channels_last)

    def loss_of(xb: Any, yb: Any) -> Any:
        return torch.nn.functional.cross_entropy(twin(xb), yb)

    loss_of = torch.compile(loss_of) if compiled else loss_of

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_of(xt, yt)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def _product() -> Step:
    square = np.random.default_rng(0).random((PRODUCT, PRODUCT), dtype=np.float32)
    return lambda: square @ square


def of(lines: Sequence[StepRow], name: str) -> Mapping[tuple[str, int], StepRow]:
    """Return the rows of one contender, by job."""
    return {(line.model, line.batch): line for line in lines if line.name == name}
