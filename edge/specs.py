"""What a plug-in says about itself: `SPEC`, in its file, is one of these.

Every field that anybody outside reads is here. A field that does not exist, or is of another type, is refused when the
plug-in is loaded, in one line. The families of plug-ins are in their packages (`edge.protocols.PROTOCOLS`, ...).

Examples:
    >>> SplitSpec(split=lambda argument, y, columns, devices, random: [y]).split("", np.arange(3), {}, 1, None)
    [array([0, 1, 2])]
    >>> EngineSpec(create=print, fixed_batch=True).rows((32, 8))
    (32, 8)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass as plain
from dataclasses import field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from edge.bundle import ORT_TRAINING, Bundle
from edge.interfaces import (
    SGD,
    Aggregation,
    Array,
    Engine,
    Floats,
    MessageKind,
    NodeId,
    PrivacyClass,
    Protocol,
    ProtocolContext,
    Trial,
)
from edge.payload import StreamItem
from edge.source import Dataset, DataSource
from edge.task import CLASSIFICATION, Task

S = TypeVar("S")
DISTRIBUTIONS = frozenset({PrivacyClass.DISTRIBUTION})
CHECKED = ConfigDict(strict=True, arbitrary_types_allowed=True, extra="forbid")
"""what a SPEC is given is checked: every field is one of its type's, and of the type it should be"""


def _never(_settings: Any) -> bool:
    return False


def _mean(_settings: Any, _task: Task) -> str:
    return "mean"


@plain(frozen=True)
class UpdateRule:
    """How a training step moves parameters.

    Attributes:
        optimizer: a name of `export.optimizers`.
        clip_norm: the norm that all gradients together are scaled down to; None leaves them.
    """

    optimizer: str = SGD
    clip_norm: float | None = None


def _sgd(_settings: Any) -> UpdateRule:
    return UpdateRule()


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class ProtocolSpec(Generic[S]):
    """A distributed learning algorithm (`edge.protocols`).

    Attributes:
        settings: a frozen dataclass of the algorithm's own knobs, with defaults; it raises ValueError for what cannot
            be.
        objective: settings -> the terms that a device's bundle must have been exported with.
        create: (context, settings) -> the algorithm on a device or, by `context.role`, on its centre. Raises
            ConfigError if it cannot run there.
        sends: settings -> the kinds of message that devices send; empty for none.
        kinds: every kind of message that devices or the centre send, whatever the settings.
        renamed: what settings were called before -> what they are called now; accepted for one release.
        perturbs: kinds made of distributions that a device passes through `context.perturb` before it makes them, so
            that noise, temperature and attacks apply to them.
        aggregation: (settings, what the models are for) -> the aggregation rule if no setting names one.
        aggregates: kinds made of distributions that a node passes through `context.aggregate` once it has taken them
            apart, so that aggregation rules apply to them.
        only_largest: settings -> whether nothing of distributions is sent but the place of their largest entries.
        centre: what it calls the one node in the middle ("server", "coordinator"), whose role and name that is.
        centre_objective: settings -> the terms of the centre's own model; it has no model if absent.
        centre_model: "same" as the devices', or the "rest" that follows the devices' in one that is cut in two.
        data: the only data set it runs on.
        asks_centre: whether what a device answers needs its centre's model.
        growing: whether its devices may learn from samples that arrive while it runs: `context.x` and `context.y` are
            replaced between rounds, and have no rows while there is nothing new.
        same_model: whether all devices must have one architecture, as weights are exchanged.
        tasks: names of the tasks (`edge.task`) that its models can be for.
        update: settings -> how its devices' parameters move where nobody chooses an optimizer.
    """

    settings: type[S]
    objective: Callable[[S], tuple[str, ...]]
    create: Callable[[ProtocolContext, S], Protocol]
    sends: Callable[[S], tuple[MessageKind, ...]]
    kinds: tuple[MessageKind, ...]
    renamed: Mapping[str, str] = field(default_factory=dict)
    perturbs: tuple[MessageKind, ...] = ()
    aggregation: Callable[[S, Task], str] = _mean
    aggregates: tuple[MessageKind, ...] = ()
    only_largest: Callable[[S], bool] = _never
    centre: NodeId | None = None
    centre_objective: Callable[[S], tuple[str, ...]] | None = None
    centre_model: Literal["same", "rest"] = "same"
    data: str | None = None
    asks_centre: bool = False
    growing: bool = False
    same_model: bool = False
    tasks: tuple[str, ...] = (CLASSIFICATION.name,)
    update: Callable[[S], UpdateRule] = _sgd


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class EngineSpec:
    """A runtime for a bundle's training step (`edge.engines`).

    Attributes:
        create: (bundle, *, threads, seed, home) -> an engine at the bundle's starting point. threads: None for what
            suits; seed: of the masks of Dropout; home: the device's folder, for what is kept between starts, or None.
        tune: (bundle, home, rows, report) -> trials, the chosen one first: finds out what suits this device, and keeps
            that in `home`. rows: of a private and a reference batch; report: called with every trial as it ends.
        with_options: (bundle, options) -> an engine with options as `tune` tries them.
        open: bundle -> what all engines of one bundle share, to be measured apart from the rest.
        concurrent: whether several engines of a process may compute at the same time.
        fixed_batch: whether it takes batches of exactly the sizes that the bundle was exported for.
        artifacts: what it needs of a bundle beside the ONNX graphs: a file or folder there.
    """

    create: Callable[..., Engine]
    tune: Callable[[Bundle, Path, tuple[int, ...], Callable[[Trial], None]], list[Trial]] | None = None
    with_options: Callable[[Bundle, Mapping[str, Any]], Engine] | None = None
    open: Callable[[Bundle], object] | None = None
    concurrent: bool = False
    fixed_batch: bool = False
    artifacts: str | None = None

    @property
    def official(self) -> bool:
        """Whether the bundle must have ONNX Runtime's own training artifacts."""
        return self.artifacts == ORT_TRAINING

    def rows(self, batches: Sequence[int]) -> tuple[int, ...]:
        """Samples of the batches that a bundle must be exported for, of those it will get; none if it takes any."""
        return tuple(batches) if self.fixed_batch else ()


@plain(frozen=True)
class BodyCoding:
    """How the body of a message becomes bytes and back.

    Attributes:
        id: in the header, 1 to 255.
        size: (rows, columns) -> bytes of a body; None if that depends on the values.
        encode: values (rows, columns) float32 -> bytes. Raises ValueError: values it cannot take. With `bases` it is
            also given what was sent before, [(round, values as decoded)], the newest first.
        decode: (body, rows, columns) -> values float32, which coded again give the same bytes. Raises MessageError and
            nothing else. With `bases` it is also given {round: values}, and raises BaseMissing without the one needed.
        bases: how many earlier messages of the same edge it makes use of. Without any it gives a whole body.
        codes: values -> the integer codes (rows, columns) uint8 of their entries, if it has such.
        keeps_largest: whether the first largest entry of a row is decoded as the first largest, and rows sum to 1.
        only_largest: whether nothing else of a row is sent.
    """

    id: int
    size: Callable[[int, int], int | None]
    encode: Callable[..., bytes]
    decode: Callable[..., Floats]
    bases: int = 0
    codes: Callable[[Floats], Array] | None = None
    keeps_largest: bool = False
    only_largest: bool = False


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class CodecSpec:
    """A family of codings (`edge.codec`).

    Attributes:
        codings: what follows the family's name and a colon in a setting -> the coding; "" for the name alone.
        kinds: names of the kinds of message that it can carry; None for any.
    """

    codings: Mapping[str, BodyCoding]
    kinds: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class AggregationSpec:
    """A rule of which neighbours' messages are mixed (`edge.robust`).

    Attributes:
        rule: (what follows the colon in the setting, number of classes or None) -> the rule. Raises ConfigError.
        applies: the classes of messages it is for.
    """

    rule: Callable[[str, int | None], Aggregation]
    applies: frozenset[PrivacyClass] = DISTRIBUTIONS


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class NoiseSpec:
    """A distribution of noise (`edge.privacy`).

    Attributes:
        draw: (scale, shape, random) -> float64 of that shape.
        sensitivity: rows -> how far so many distributions can move, in the norm that the noise is calibrated to.
        applies: the classes of messages it is for.
    """

    draw: Callable[[float, tuple[int, ...], np.random.Generator], Array]
    sensitivity: Callable[[int], float]
    applies: frozenset[PrivacyClass] = DISTRIBUTIONS


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class DataSpec:
    """A data set, or a format of data sets (`edge.data`): one of `read` and `load`.

    Attributes:
        read: argument -> its rows, as they are in the file. argument: what follows the colon in the setting. Raises
            DataError: what is wrong with the data, and where.
        load: (argument, seed) -> an `edge.source.Dataset`, of what is drawn with a seed, or divided in its own way.
        samples: argument -> (n, ...) numbers, as they came, for a reference set without labels; if absent, those of
            `read`.
        file: whether the argument begins with a path, up to a "?".
    """

    read: Callable[[str], DataSource] | None = None
    load: Callable[[str, int], Dataset] | None = None
    samples: Callable[[str], Array] | None = None
    file: bool = False


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class SplitSpec:
    """A way of dividing data among devices (`edge.split`).

    Attributes:
        split: (argument, y, columns, devices, random) -> row numbers per device, disjoint. argument: what follows the
            colon in the setting; y: (n,) labels; columns: further arrays (n,) by name. Raises ConfigError.
    """

    split: Callable[[str, Array, Mapping[str, Array], int, np.random.Generator], Sequence[Array]]


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class StreamSpec:
    """A kind of stream that samples arrive from while a node runs (`edge.streams`).

    Attributes:
        open: (argument, marks, shape) -> an iterator. argument: what follows the colon in the setting; marks: those of
            the arrivals that were kept, by name, none at first; shape: of a sample. The call raises ConfigError for a
            setting that cannot be, and reads nothing. The iterator yields a `StreamItem` for what has come, None where
            nothing has come yet, and ends where nothing can come any more. It is asked for the next only when the
            last has been kept. Where the stream has disappeared it raises OSError or MurmurError: then it is opened
            again later.
        file: whether the argument begins with a path, up to a "?".
    """

    open: Callable[[str, Mapping[str, str], tuple[int, ...]], Iterator[StreamItem | None]]
    file: bool = False
