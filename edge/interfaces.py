"""The nouns of the device side, and what each one promises.

    engine    runs the exported training step; owns the parameters
    protocol  one algorithm: what to train towards, what to send, how to mix what arrives
    transport moves bytes between this device and its neighbours
    message   what one device sends about one round

Letters in shapes: N rows of a batch, R rows of the reference set, K classes, P parameters.
"""

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from math import prod
from typing import Any
from typing import Protocol as Interface

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Metrics = dict[str, float]
NodeId = str
DEVICE = "device"
"""the role of whoever has private data"""


class PrivacyClass(Enum):
    """What the values of a message are, and so what can be done to them: noise and the like are for some classes."""

    DISTRIBUTION = "distributions over the classes"
    STATISTIC = "counts, sums and other statistics"
    WEIGHTS = "model weights"
    FEATURES = "features or logits of samples"
    RAW_SAMPLES = "samples"
    OPAQUE_CODES = "labels or codes"


Perturb = Callable[[Array, int], Array]
"""distributions (n, K) and the number of their round -> what is sent instead (`edge.privacy`)"""
Aggregation = Callable[[Mapping[NodeId, Floats], Floats | None], dict[NodeId, Floats]]
"""which of the senders' distributions (n, K) are mixed, given our own if there are any (`edge.robust`)"""


def unchanged(values: Array, _number: int) -> Array:
    """Send distributions as they are."""
    return values


def everybody(tables: Mapping[NodeId, Floats], _own: Floats | None) -> dict[NodeId, Floats]:
    """Aggregate what everybody sent: what the papers do."""
    return dict(tables)


@dataclass(frozen=True)
class Message:
    """What one device sends about one round. The sender is not in it: only the topic says who that is.

    digest: 8 bytes naming what the values are about (the reference set, the model's parameter
    table). Two devices whose digests differ do not understand each other.
    values: (rows, columns) float32; soft labels are (R, K), weights (1, P).
    """

    kind: str
    round: int
    digest: bytes
    values: Floats


@dataclass(frozen=True)
class Format:
    """What a kind of message must look like to be understood.

    shape: (rows, columns) of its values; `fewer` says that there may be fewer rows, of which one at least.
    privacy: what its values are. A protocol declares both with a `MessageKind`, whose `format` makes this.
    """

    kind: str
    digest: bytes
    shape: tuple[int, int]
    privacy: PrivacyClass
    fewer: bool = False

    def fits(self, digest: bytes, rows: int, columns: int) -> bool:
        """Whether a message of this digest and shape is of this format."""
        enough = 1 <= rows <= self.shape[0] if self.fewer else rows == self.shape[0]
        return enough and columns == self.shape[1] and digest == self.digest


@dataclass(frozen=True)
class MessageKind:
    """A kind of message, as a protocol declares it.

    Args:
        name: in topics and settings.
        number: in the header, 1 to 255.
        privacy: what its values are.
        coding: how its body is coded unless the settings say otherwise (`edge.codec`).
        fixed: whether settings may not choose another coding.
        like: a kind whose values are alike, and whose codings this one takes, too.
    """

    name: str
    number: int
    privacy: PrivacyClass
    coding: str = "float32"
    fixed: bool = False
    like: str = ""

    def format(self, digest: bytes, shape: tuple[int, int], *, fewer: bool = False) -> Format:
        """What a message of this kind about `digest` must look like."""
        return Format(self.name, digest, shape, self.privacy, fewer)


@dataclass(frozen=True)
class Exchange:
    """One act of communication within a round: what to send to whom, and whose messages to wait for, by kind."""

    send: Mapping[NodeId, Sequence[Message]]
    wait_for: Mapping[NodeId, Sequence[str]]


@dataclass(frozen=True)
class ExchangeResult:
    """The outcome of an `Exchange`.

    received: sender -> kind -> message, for those of `wait_for` that came in time.
    sent: receiver -> kind -> our message as the receiver decodes it, i.e. after quantisation.
    """

    received: Mapping[NodeId, Mapping[str, Message]]
    sent: Mapping[NodeId, Mapping[str, Message]]

    def of(self, kind: str) -> dict[NodeId, Floats]:
        """Sender -> values of what was received of this kind, in the senders' order."""
        return {j: by_kind[kind].values for j, by_kind in sorted(self.received.items()) if kind in by_kind}


class Engine(Interface):
    """Runs a bundle's training step. Parameters live in buffers the runtime owns.

    work: what has been asked of it so far, ("train", N, R) or ("predict", N, 0) -> how often, for counting costs.
    """

    work: Counter[tuple[str, int, int]]

    def step(self, batch: Mapping[str, Array], **hyper: float) -> Metrics:
        """One training step; returns the loss by term, their weighted sum and the correct count.

        batch: the arrays the bundle's objective reads, by name ("x", "labels", "reference_x", ...).
        hyper: scalars by name ("learning_rate", a term's weight); the bundle's default otherwise.
        Raises EngineError on a wrong name, shape or dtype, and then leaves the parameters untouched.
        """

    def predict(self, x: Array) -> Floats:
        """Class probabilities (N, K) of `x` (N, ...) under the present parameters: the main head's."""

    def outputs(self, x: Array, *names: str) -> list[Floats]:
        """What the bundle's predict graph gives for `x` by name, e.g. "logits", "probabilities/1", "embedding".

        Raises EngineError if it gives no such thing.
        """

    def parameters(self) -> dict[str, Array]:
        """Copies of the parameters, by name, in the order of the bundle's table."""

    def load_parameters(self, values: Mapping[str, Array]) -> None:
        """Replace parameters by name; those not named stay. Raises EngineError, changing nothing."""

    def state(self) -> dict[str, Array]:
        """Copies of the parameters *and* the optimizer's state: all that a step depends on."""

    def load_state(self, values: Mapping[str, Array]) -> None:
        """Put back what `state` gave."""


@dataclass(frozen=True)
class Trial:
    """What one choice of an engine's options costs on this machine: a step (median), a whole process at its peak."""

    options: Mapping[str, Any]
    step_seconds: float
    peak_bytes: int


class Protocol(Interface):
    """One algorithm, seen from one device. No I/O, no clock, no threads.

    What a module of `edge.protocols` must have is in `edge.algorithm`.
    """

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """All that this device may be sent, by sender; anything else is refused."""

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """One round, as a generator: train, `yield` each exchange, mix what arrived.

        The caller performs the exchange and sends back a `ExchangeResult`. Returns the round's metrics.
        """

    def heads(self, engine: Engine, x: Array, centre: Engine | None) -> list[Floats]:
        """The class probabilities (N, K) this device would answer with, one table a head.

        The first is the one for the device's own distribution, the last the one for everybody's.
        centre: the centre's model, where it has one and can be asked (in the emulator it can).
        """

    def state(self) -> dict[str, Array]:
        """Everything the next round depends on, as arrays by name; valid between rounds."""

    def load_state(self, values: Mapping[str, Array]) -> None:
        """Put back what `state` gave."""


@dataclass(frozen=True)
class Delivery:
    """Bytes that arrived. sender and kind come from the topic, which the broker's ACL guards."""

    sender: NodeId
    kind: str
    payload: bytes


@dataclass
class Traffic:
    """What one device has sent and received so far.

    payload bytes: our header and body. wire bytes: the whole MQTT 5 PUBLISH packets that carry them
    (`edge.messaging.topics.publish_size`); acknowledgements, TCP and TLS are not in it.
    """

    messages_sent: int = 0
    payload_bytes_sent: int = 0
    wire_bytes_sent: int = 0
    messages_received: int = 0
    payload_bytes_received: int = 0
    overflowed: int = 0
    """deliveries dropped because there were too many or too large ones"""
    sent_to: dict[NodeId, int] = field(default_factory=dict)
    """payload bytes by receiver"""

    def snapshot(self) -> "Traffic":
        """A copy of the counts so far, which later messages do not change."""
        return replace(self, sent_to=dict(self.sent_to))

    def restore(self, snapshot: "Traffic") -> None:
        """Put back what `snapshot` gave."""
        vars(self).update(vars(snapshot.snapshot()))


class Transport(Interface):
    """Moves bytes between this device and its neighbours. `send` and `receive` never block."""

    traffic: Traffic

    def send(self, receiver: NodeId, kind: str, payload: bytes) -> None:
        """Hand over one message of at most 512 kB; it is delivered at least once, or late, or never."""

    def receive(self) -> list[Delivery]:
        """Everything that arrived since the last call, oldest first."""

    def wait(self, seconds: float) -> bool:
        """Block until something has arrived (True) or `seconds` have passed (False)."""

    def report(self, row: Mapping[str, float]) -> None:
        """Publish one row of flat numeric telemetry, best effort."""

    def close(self) -> None:
        """Say goodbye and release everything. Safe to call twice."""


@dataclass(frozen=True)
class ProtocolContext:
    """What a protocol knows about the device it runs on.

    fleet: all devices, in the order that all agree on; the centre is not among them.
    role: "device", or what the algorithm calls its centre ("server", "coordinator").
    weights: mixing weights by device, own included; they sum to 1, and the neighbours are its keys.
    x, y: the private samples (n, ...) float32 and their labels (n,) int64; a centre has none (n = 0).
    reference_x: (R, ...) the public unlabelled samples; reference_digest: 8 bytes.
    model_digest: 8 bytes of the bundle's parameter table. parameters: P, of that table. classes: K.
    features_shape: of the embedding of a sample; () if the model names none.
    seed: all randomness of the device comes from it. shared_seed: the same on all devices.
    perturb, aggregate: the settings `privacy` and `aggregation`, for a protocol whose messages are made of
    distributions but are none themselves; to messages of class DISTRIBUTION the loop applies both.
    """

    me: NodeId
    weights: Mapping[NodeId, float]
    x: Array
    y: Array
    reference_x: Array
    reference_digest: bytes
    model_digest: bytes
    parameters: int
    classes: int
    seed: int
    shared_seed: int
    fleet: tuple[NodeId, ...]
    features_shape: tuple[int, ...] = ()
    role: str = DEVICE
    perturb: Perturb = unchanged
    aggregate: Aggregation = everybody

    @property
    def features(self) -> int:
        """Numbers in the embedding of a sample; 0 if the model names none."""
        return prod(self.features_shape) if self.features_shape else 0

    @property
    def neighbours(self) -> tuple[NodeId, ...]:
        """Everyone else in `weights`, sorted: the order in which values are summed."""
        return tuple(sorted(name for name in self.weights if name != self.me))
