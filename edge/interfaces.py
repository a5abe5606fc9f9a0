"""The nouns of the device side, and what each one promises.

    engine    runs the exported training step; owns the parameters
    protocol  one algorithm: what to train towards, what to send, how to mix what arrives
    transport moves bytes between this device and its neighbours
    message   what one device sends about one round

Letters in shapes: N rows of a batch, R rows of the reference set, K classes, P parameters.

Examples:
    >>> kind = MessageKind("opinions", 200, PrivacyClass.DISTRIBUTION)
    >>> kind.format(bytes(8), (300, 10)).fits(bytes(8), 300, 10)
    True
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

from edge.task import CLASSIFICATION, SUPERVISION, Task

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Metrics = dict[str, float]
NodeId = str
DEVICE, SGD = "device", "sgd"
"""the role of whoever has private data; the optimizer where nothing else is said"""


class PrivacyClass(Enum):
    """What the values of a message are, and so what can be done to them: noise and the like are for some classes."""

    DISTRIBUTION = "distributions over the classes"
    STATISTIC = "counts, sums and other statistics"
    WEIGHTS = "model weights"
    FEATURES = "features or logits of samples"
    RAW_SAMPLES = "samples"
    OPAQUE_CODES = "labels or codes"
    PREDICTION = "outputs that are no distributions"


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

    Attributes:
        kind: name of a `MessageKind`.
        round: from 1.
        digest: 8 bytes naming what the values are about (the reference set, the model's parameter table). Two devices
            whose digests differ do not understand each other.
        values: (rows, columns) float32; soft labels are (R, K), weights (1, P).
    """

    kind: str
    round: int
    digest: bytes
    values: Floats


@dataclass(frozen=True)
class Format:
    """What a kind of message must look like to be understood; made by `MessageKind.format`.

    Attributes:
        kind: its name.
        digest: 8 bytes naming what the values are about.
        shape: (rows, columns) of the values.
        privacy: what the values are.
        fewer: whether there may be fewer rows, of which one at least.
    """

    kind: str
    digest: bytes
    shape: tuple[int, int]
    privacy: PrivacyClass
    fewer: bool = False

    def fits(self, digest: bytes, rows: int, columns: int) -> bool:
        """Tell whether a message of this digest and shape is of this format."""
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
        """Describe messages of this kind.

        Args:
            digest: 8 bytes naming what the values are about.
            shape: (rows, columns).
            fewer: whether there may be fewer rows.

        Returns:
            What a message must look like to be understood.
        """
        return Format(self.name, digest, shape, self.privacy, fewer)


@dataclass(frozen=True)
class Exchange:
    """One act of communication within a round.

    Attributes:
        send: receiver -> messages. One message to several is one object, and coded once.
        wait_for: sender -> kinds of message to wait for.
    """

    send: Mapping[NodeId, Sequence[Message]]
    wait_for: Mapping[NodeId, Sequence[str]]


@dataclass(frozen=True)
class ExchangeResult:
    """The outcome of an `Exchange`.

    Attributes:
        received: sender -> kind -> message, for those of `wait_for` that came in time.
        sent: receiver -> kind -> our message as the receiver decodes it, i.e. after quantisation.
    """

    received: Mapping[NodeId, Mapping[str, Message]]
    sent: Mapping[NodeId, Mapping[str, Message]]

    def of(self, kind: str) -> dict[NodeId, Floats]:
        """Return sender -> values of the messages of this kind, in the order of the senders' names."""
        return {j: by_kind[kind].values for j, by_kind in sorted(self.received.items()) if kind in by_kind}


class Engine(Interface):
    """Runs a bundle's training step. Parameters live in buffers the runtime owns.

    work: what has been asked of it so far, ("train", N, R) or ("predict", N, 0) -> how often, for counting costs.
    """

    work: Counter[tuple[str, int, int]]

    def step(self, batch: Mapping[str, Array], **hyper: float) -> Metrics:
        """Take one training step.

        Args:
            batch: the arrays the bundle's objective reads, by name: "x" (N, ...) float32, "labels" (N,) int64,
                "reference_x" (R', ...), ...
            **hyper: scalars by name ("learning_rate", a term's weight); the bundle's default otherwise.

        Returns:
            "loss", the weighted sum; "loss/TERM" of every term; "correct", how many of the N rows were right, where a
            row has one class. Where the loss or the update is not finite, the parameters are as they were, and
            "skipped_steps" is 1.

        Raises:
            EngineError: a wrong name, shape or dtype; or no step can succeed: the weights are beyond measure, or the
                last twenty steps were skipped. The parameters are as they were.
        """

    def predict(self, x: Array) -> Floats:
        """Return the main head's outputs (N, K, ...): probabilities, or numbers of a regression. Raises EngineError."""

    def outputs(self, x: Array, *names: str) -> list[Floats]:
        """Run the bundle's prediction graph.

        Args:
            x: (N, ...) float32.
            *names: of outputs: "logits", "probabilities/1", "embedding", ...

        Returns:
            One array (N, ...) float32 per name.

        Raises:
            EngineError: the bundle gives no such thing, or takes no such samples.
        """

    def parameters(self) -> dict[str, Array]:
        """Copy the parameters: by name, in the order of the bundle's table."""

    def load_parameters(self, values: Mapping[str, Array]) -> None:
        """Replace parameters by name; those not named stay. Raises EngineError, changing nothing."""

    def state(self) -> dict[str, Array]:
        """Copy the parameters *and* the optimizer's state: all that a step depends on."""

    def load_state(self, values: Mapping[str, Array]) -> None:
        """Put back what `state` gave. Raises EngineError, changing nothing."""


@dataclass(frozen=True)
class Trial:
    """What one choice of an engine's options costs on this machine.

    Attributes:
        options: as `EngineSpec.with_options` takes them.
        step_seconds: median of a step.
        peak_bytes: resident memory of the whole process at its peak.
    """

    options: Mapping[str, Any]
    step_seconds: float
    peak_bytes: int


class Protocol(Interface):
    """One algorithm, seen from one device. No I/O, no clock, no threads. `ProtocolSpec.create` makes it."""

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """Return all that this device may be sent, by sender; the inbox refuses anything else."""

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Run one round: train, `yield` each exchange, mix what arrived.

        Args:
            number: of the round, from 1. It grows, but may skip: a device that was away joins its neighbours' round.
            engine: of this node's model.

        Yields:
            Exchanges, which the caller performs; it sends back an `ExchangeResult`.

        Returns:
            Metrics of the round, numbers by name; "rejected_invalid" counts messages that no honest node sends.
        """

    def heads(self, engine: Engine, x: Array, centre: Engine | None) -> list[Floats]:
        """Answer for samples.

        Args:
            engine: of this node's model.
            x: (N, ...) float32.
            centre: the centre's model, where it has one and can be asked (in the emulator it can).

        Returns:
            Outputs (N, K, ...), a table a head: first the one for the device's own distribution, last for everybody's.
        """

    def state(self) -> dict[str, Array]:
        """Return everything the next round depends on, as arrays by name; valid between rounds."""

    def load_state(self, values: Mapping[str, Array]) -> None:
        """Put back what `state` gave. Raises KeyError: it is of another protocol."""


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
    dropped: int = 0
    """messages dropped before they left because too many bytes waited to; a neighbour that needs one asks for it"""
    taken_over: int = 0
    """times that the broker has ended the connection because another client has this device's name"""
    sent_to: dict[NodeId, int] = field(default_factory=dict)
    """payload bytes by receiver"""

    def snapshot(self) -> "Traffic":
        """Copy the counts so far, which later messages do not change."""
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
        """Return everything that arrived since the last call, oldest first."""

    def backlog(self, receiver: NodeId) -> int:
        """Return the bytes handed over for a receiver that have not left yet: to repeat them would not help."""

    def wait(self, seconds: float) -> bool:
        """Block until something has arrived (True) or `seconds` have passed (False)."""

    def report(self, row: Mapping[str, float]) -> None:
        """Publish one row of flat numeric telemetry, best effort."""

    def close(self) -> None:
        """Announce the departure and release everything. Safe to call twice."""


@dataclass(frozen=True)
class ProtocolContext:
    """What a protocol knows about the node it runs on.

    Attributes:
        me: this node's name.
        weights: mixing weights by device, own included; they sum to 1, and the neighbours are its keys.
        x: (n, ...) float32, the private samples; a centre has none (n = 0).
        y: (n,) int64, their labels; of other tasks than classification as `edge.task` says.
        reference_x: (R, ...) float32, the public unlabelled samples.
        reference_digest: 8 bytes of them.
        model_digest: 8 bytes of the bundle's parameter table.
        parameters: P, of that table.
        classes: K.
        seed: all randomness of the node comes from it.
        shared_seed: the same on all nodes.
        fleet: all devices, in the order that all agree on; the centre is not among them.
        features_shape: of the embedding of a sample; () if the model names none.
        role: "device", or what the algorithm calls its centre ("server", "coordinator").
        perturb: the setting `privacy`, for a protocol whose messages are made of distributions but are none
            themselves; to messages of class DISTRIBUTION the loop applies it.
        aggregate: the setting `aggregation`, likewise.
        task: what the model is for.
        supervision: the term of its objective that learns from labels.
        optimizer: the name of its optimizer.
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
    task: Task = CLASSIFICATION
    supervision: str = SUPERVISION
    optimizer: str = SGD

    @property
    def features(self) -> int:
        """Numbers in the embedding of a sample; 0 if the model names none."""
        return prod(self.features_shape) if self.features_shape else 0

    @property
    def neighbours(self) -> tuple[NodeId, ...]:
        """Everyone else in `weights`, sorted: the order in which values are summed."""
        return tuple(sorted(name for name in self.weights if name != self.me))
