"""What an emulation found. The names are those of the JSON file and stay."""

from typing import Any

from pydantic import BaseModel


class DeviceResult(BaseModel):
    """One device after the last round. Accuracies are fractions of the test set.

    accuracy_own: on test rows of the classes the device holds; accuracy_all: on all of them.
    payload bytes: our header and body; wire bytes: the whole MQTT PUBLISH packets.
    """

    id: str
    accuracy_all: float
    accuracy_own: float
    payload_bytes_sent: int
    payload_bytes_received: int
    wire_bytes_sent: int
    messages_sent: int


class RoundResult(BaseModel):
    """Means over the devices after one round. Accuracies are absent where it was not evaluated."""

    round: int
    loss: float
    accuracy_all: float | None
    accuracy_own: float | None
    payload_bytes_total: int
    metrics: dict[str, float]
    """whatever else the protocol reports, e.g. "disagreement", "missed\""""
    seconds: float


class Summary(BaseModel):
    """One protocol's line in a comparison."""

    protocol: str
    mean_accuracy: float
    worst_accuracy: float
    mean_accuracy_own: float
    payload_bytes_per_device: float
    messages_per_device: float
    seconds: float


class Result(BaseModel):
    """One protocol's run."""

    scenario: dict[str, Any]
    protocol: str
    parameters: int
    """P, of each device's model"""
    spectral_gap: float
    devices: list[DeviceResult]
    mean_accuracy: float
    worst_accuracy: float
    payload_bytes_total: int
    rounds: list[RoundResult]
    counts: dict[str, int]
    """messages the inboxes refused, by cause, over all devices"""
    seconds: float
    comparison: list[Summary] = []

    def summary(self) -> Summary:
        """This run as a line of a comparison."""
        n = len(self.devices)
        return Summary(
            protocol=self.protocol,
            mean_accuracy=self.mean_accuracy,
            worst_accuracy=self.worst_accuracy,
            mean_accuracy_own=sum(d.accuracy_own for d in self.devices) / n,
            payload_bytes_per_device=self.payload_bytes_total / n,
            messages_per_device=sum(d.messages_sent for d in self.devices) / n,
            seconds=self.seconds,
        )
