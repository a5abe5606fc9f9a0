"""For a centre that has no model of its own: nothing to train, nothing to ask."""

from collections import Counter
from collections.abc import Mapping

from edge.errors import EngineError
from edge.interfaces import Array, Engine, Floats, Metrics


class NoModel:
    """See `edge.interfaces.Engine`."""

    def __init__(self) -> None:
        self.work: Counter[tuple[str, int, int]] = Counter()

    def step(self, batch: Mapping[str, Array], **hyper: float) -> Metrics:
        """Refuse."""
        raise EngineError("this node has no model to train")

    def predict(self, x: Array) -> Floats:
        """Refuse."""
        raise EngineError("this node has no model to ask")

    def outputs(self, x: Array, *names: str) -> list[Floats]:
        """Refuse."""
        raise EngineError("this node has no model to ask")

    def parameters(self) -> dict[str, Array]:
        """None."""
        return {}

    def load_parameters(self, values: Mapping[str, Array]) -> None:
        """Take nothing."""
        if values:
            raise EngineError("this node has no model to put parameters in")

    def state(self) -> dict[str, Array]:
        """Nothing."""
        return {}

    def load_state(self, values: Mapping[str, Array]) -> None:
        """Take nothing."""
        self.load_parameters(values)


_: type[Engine] = NoModel
