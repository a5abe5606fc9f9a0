"""The nouns of the device side, and what each one promises.

    engine    runs the exported training step; owns the parameters
    protocol  one algorithm: what to train towards, what to say, how to mix what was heard
    transport moves bytes between this device and its neighbours
    message   what one device says about one round

Letters in shapes: N rows of a batch, R rows of the reference set, K classes, P parameters.
"""

from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from typing import Protocol as Interface

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Metrics = dict[str, float]
NodeId = str


@dataclass(frozen=True)
class Message:
    """What one device says about one round. The sender is not in it: only the topic says who spoke.

    digest: 8 bytes naming what the values are about (the reference set, the model's parameter
    table). Two devices whose digests differ do not understand each other.
    values: (rows, columns) float32; soft labels are (R, K), weights (1, P).
    """

    kind: str
    round: int
    digest: bytes
    values: Floats


@dataclass(frozen=True)
class Expected:
    """What an answer must look like to count."""

    kind: str
    round: int
    digest: bytes
    shape: tuple[int, int]


@dataclass(frozen=True)
class Exchange:
    """One act of communication within a round: what to tell whom, and whom to wait for."""

    send: Mapping[NodeId, Message]
    wait_for: Collection[NodeId]
    expected: Expected


@dataclass(frozen=True)
class Heard:
    """The outcome of an `Exchange`.

    received: sender -> message, for those of `wait_for` that answered in time.
    sent: receiver -> our message as the receiver decodes it, i.e. after quantisation.
    """

    received: Mapping[NodeId, Message]
    sent: Mapping[NodeId, Message]


class Engine(Interface):
    """Runs a bundle's training step. Parameters live in buffers the runtime owns."""

    def step(self, batch: Mapping[str, Array], **hyper: float) -> Metrics:
        """One training step; returns the loss by term, their weighted sum and the correct count.

        batch: the arrays the bundle's objective reads, by name ("x", "labels", "reference_x", ...).
        hyper: scalars by name ("learning_rate", a term's weight); the bundle's default otherwise.
        Raises EngineError on a wrong name, shape or dtype, and then leaves the parameters untouched.
        """

    def predict(self, x: Array) -> Floats:
        """Class probabilities (N, K) of `x` (N, ...) under the present parameters."""

    def parameters(self) -> dict[str, Array]:
        """Copies of the parameters, by name, in the order of the bundle's table."""

    def load_parameters(self, values: Mapping[str, Array]) -> None:
        """Replace parameters by name; those not named stay. Raises EngineError, changing nothing."""

    def state(self) -> dict[str, Array]:
        """Copies of the parameters *and* the optimizer's state: all that a step depends on."""

    def load_state(self, values: Mapping[str, Array]) -> None:
        """Put back what `state` gave."""


class Protocol(Interface):
    """One algorithm, seen from one device. No I/O, no clock, no threads.

    A module of `edge.protocols` has `OBJECTIVE` (what the bundle must have been exported with),
    `Settings` (a frozen dataclass of the algorithm's own knobs, with defaults) and
    `create(setup, settings) -> Protocol`.
    """

    KIND: ClassVar[str]
    """The kind of message it exchanges; the codec for that kind is chosen in the configuration."""

    def round(self, number: int, engine: Engine) -> Generator[Exchange, Heard, Metrics]:
        """One round, as a generator: train, `yield` each exchange, mix what was heard.

        The caller performs the exchange and sends back a `Heard`. Returns the round's metrics.
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
    (`edge.topics.publish_size`); acknowledgements, TCP and TLS are not in it.
    """

    messages_sent: int = 0
    payload_bytes_sent: int = 0
    wire_bytes_sent: int = 0
    messages_received: int = 0
    payload_bytes_received: int = 0
    overflowed: int = 0
    """deliveries dropped because there were too many or too large ones"""


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
class Setup:
    """What a protocol is told about the device it runs on.

    weights: mixing weights by device, own included; they sum to 1, and the neighbours are its keys.
    x, y: the private samples (n, ...) float32 and their labels (n,) int64.
    reference_x: (R, ...) the public unlabelled samples; reference_digest: 8 bytes.
    model_digest: 8 bytes of the bundle's parameter table. classes: K.
    seed: all randomness of the device comes from it.
    """

    me: NodeId
    weights: Mapping[NodeId, float]
    x: Array
    y: Array
    reference_x: Array
    reference_digest: bytes
    model_digest: bytes
    classes: int
    seed: int

    @property
    def neighbours(self) -> tuple[NodeId, ...]:
        """Everyone else in `weights`, sorted: the order in which values are summed."""
        return tuple(sorted(name for name in self.weights if name != self.me))
