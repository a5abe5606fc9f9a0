"""The result of an emulation. The names are those of the JSON file and stay."""

from contextlib import suppress
from importlib import import_module
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, Field

from edge.errors import ConfigError
from edge.task import CLASSIFICATION

Accuracy = tuple[float, float]
"""(on the whole test set, on it with its classes as frequent as on the device)"""


class DeviceResult(BaseModel):
    """One device after the last round. Accuracies are fractions of the test set; of another task than classification,
    values of its metric (`Result.metric`).

    accuracy_own: of the head for the device's own distribution, with the test classes as frequent as there;
    accuracy_all: of the head for the global distribution, on the whole test set. accuracy_by_head: both of every head.
    payload bytes: our header and body; wire bytes: the whole MQTT PUBLISH packets.
    """

    id: str
    accuracy_all: float
    accuracy_own: float
    accuracy_by_head: list[Accuracy] = []
    samples: int = 0
    """private ones"""
    round: int = 0
    """the round that it finished last"""
    payload_bytes_sent: int
    payload_bytes_received: int
    wire_bytes_sent: int
    messages_sent: int
    loss: float | None = None
    """of its last round, on its own labels"""
    outcome: dict[str, float] = {}
    """what says that it has learnt nothing (`edge.outcome`); empty if it has learnt"""


class RoundResult(BaseModel):
    """Means over the devices after one round. Accuracies are absent if no device was evaluated after it."""

    round: int
    loss: float | None
    """absent in a round in which no device trained"""
    accuracy_all: float | None
    accuracy_own: float | None
    consensus_distance: float | None = Field(
        default=None, validation_alias=AliasChoices("consensus_distance", "disagreement")
    )
    """root mean square, over devices and test samples, of the distance of a device's class probabilities from the
    devices' mean, where it was evaluated; files of the release before call it disagreement"""
    payload_bytes_total: int
    link_seconds: float | None = None
    """virtual seconds that the round took, mean over the devices, if links, boards or absences are given"""
    virtual_seconds: float | None = None
    """since the start, when all devices that were there had finished it"""
    devices: int = 0
    """how many finished it"""
    metrics: dict[str, float]
    """whatever else the protocol reports, e.g. "timeouts\""""
    seconds: float


class Summary(BaseModel):
    """One protocol's line in a comparison. What a centre sends is divided among its devices."""

    protocol: str
    mean_accuracy: float
    worst_accuracy: float
    mean_accuracy_own: float
    payload_bytes_per_device: float
    messages_per_device: float
    seconds: float
    not_learnt: int = 0
    """how many devices have learnt nothing"""


class Result(BaseModel):
    """One protocol's run."""

    scenario: dict[str, Any]
    protocol: str
    metric: str = CLASSIFICATION.metric
    """what all accuracies of this result are values of: the metric of the task"""
    scores: dict[str, float] = {}
    """all metrics of the task, means over the devices, of the head for the global distribution on the test set"""
    parameters: int
    """P, of the largest device's model"""
    spectral_gap: float
    devices: list[DeviceResult]
    centre: DeviceResult | None = None
    """the traffic of the node in the middle, where there is one"""
    mean_accuracy: float
    worst_accuracy: float
    payload_bytes_total: int
    rounds: list[RoundResult]
    counts: dict[str, int]
    """messages the inboxes refused, by cause, over all devices"""
    virtual_seconds: float | None = None
    """that the run took, if links, boards or absences are given"""
    interrupted: bool = False
    """by Ctrl-C: the result is that of the rounds before"""
    seconds: float
    comparison: list[Summary] = []
    notes: list[str] = []
    """what was done to the models for this data, in sentences"""

    def frame(self, of: Literal["rounds", "devices"] = "rounds", library: str | None = None) -> Any:
        """Return the rounds, or the devices, as a data frame.

        Args:
            of: what its rows are.
            library: pandas or polars; the first of them that is installed if absent.

        Returns:
            A data frame of that library with a column for each field, and for each of a protocol's own metrics.

        Raises:
            ConfigError: the library is not installed.
        """
        rows = [one.model_dump() for one in (self.rounds if of == "rounds" else self.devices)]
        rows = [{**{k: v for k, v in row.items() if k != "metrics"}, **row.get("metrics", {})} for row in rows]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = {key: [row.get(key) for row in rows] for key in columns}
        for name in (library,) if library else ("pandas", "polars"):
            with suppress(ModuleNotFoundError):
                return import_module(name).DataFrame(table)
        raise ConfigError(f"a frame needs {library or 'pandas or polars'}, which is not installed; pip install it")

    def summary(self) -> Summary:
        """Summarise the run as a line of a comparison."""
        n = len(self.devices)
        centre = [self.centre] if self.centre else []
        return Summary(
            protocol=self.protocol,
            mean_accuracy=self.mean_accuracy,
            worst_accuracy=self.worst_accuracy,
            mean_accuracy_own=sum(d.accuracy_own for d in self.devices) / n,
            payload_bytes_per_device=self.payload_bytes_total / n,
            messages_per_device=sum(d.messages_sent for d in [*self.devices, *centre]) / n,
            seconds=self.seconds,
            not_learnt=sum(bool(d.outcome) for d in self.devices),
        )
