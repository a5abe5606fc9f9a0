"""An engine that several threads use: one trains, others predict in between."""

import threading
from collections import Counter
from collections.abc import Mapping

from edge.interfaces import Array, Engine, Floats, Metrics


class FairLock:
    """A lock that whoever has waited gets before whoever has just released it.

    With a plain lock, a thread that takes one step after the other would keep others out for many steps.
    """

    def __init__(self) -> None:
        self._queue, self._lock = threading.Lock(), threading.Lock()

    def __enter__(self) -> None:
        with self._queue:  # who waits for the lock holds the queue, so that it is next
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class SharedEngine:
    """An engine of which every call is whole: a prediction sees the parameters after a step, never amid one.

    A call waits for one that is under way, and for those that have waited longer. See `edge.interfaces.Engine`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine, self._lock = engine, FairLock()
        self.work: Counter[tuple[str, int, int]] = engine.work

    def step(self, batch: Mapping[str, Array], **hyper: float) -> Metrics:
        """See `Engine.step`."""
        with self._lock:
            return self._engine.step(batch, **hyper)

    def predict(self, x: Array) -> Floats:
        """See `Engine.predict`."""
        with self._lock:
            return self._engine.predict(x)

    def outputs(self, x: Array, *names: str) -> list[Floats]:
        """See `Engine.outputs`."""
        with self._lock:
            return self._engine.outputs(x, *names)

    def parameters(self) -> dict[str, Array]:
        """See `Engine.parameters`."""
        with self._lock:
            return self._engine.parameters()

    def load_parameters(self, values: Mapping[str, Array]) -> None:
        """See `Engine.load_parameters`."""
        with self._lock:
            self._engine.load_parameters(values)

    def state(self) -> dict[str, Array]:
        """See `Engine.state`."""
        with self._lock:
            return self._engine.state()

    def load_state(self, values: Mapping[str, Array]) -> None:
        """See `Engine.load_state`."""
        with self._lock:
            self._engine.load_state(values)


_: type[Engine] = SharedEngine
