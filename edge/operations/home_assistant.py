"""Discovery by Home Assistant: a retained MQTT message for each sensor of a device.

    homeassistant/sensor/{fleet}-{id}/{key}/config

Each names the topics of the device's telemetry and status (`edge.messaging.topics`) and the key to show.
Off unless `home_assistant` is set; an empty message at the same topic removes a sensor.
"""

import json

from edge.interfaces import NodeId
from edge.messaging import topics
from edge.task import CLASSIFICATION, Task

SENSORS: dict[str, tuple[str, str | None, str]] = {
    "round": ("Round", None, "mdi:counter"),
    "loss": ("Loss", None, "mdi:chart-line"),
    "accuracy": ("Accuracy on own data", "%", "mdi:bullseye"),
    "accuracy_all": ("Accuracy", "%", "mdi:bullseye-arrow"),
    "timeouts": ("Neighbours that timed out", None, "mdi:access-point-off"),
    "payload_bytes_sent": ("Sent", "B", "mdi:upload-network"),
}
"""key of telemetry -> name, unit, icon; no classifier has accuracies, but the score of its task"""


def discovery(fleet: str, me: NodeId, task: Task = CLASSIFICATION) -> dict[str, str]:
    """Describe a device's sensors (Home Assistant, "MQTT discovery").

    Args:
        fleet: its fleet.
        me: the device.
        task: what its model is for, which says what score it has.

    Returns:
        Topic -> JSON to retain there, one for each of SENSORS.
    """
    node = f"{fleet}-{me}"
    messages = {}
    for key, (name, unit, icon) in _sensors(task).items():
        value = f"value_json.{key} * 100" if unit == "%" else f"value_json.{key}"
        configuration = {
            "name": name,
            "unique_id": f"murmur_{node}_{key}",
            "state_topic": topics.telemetry(fleet, me),
            "value_template": f"{{{{ ({value}) if value_json.{key} is defined else this.state }}}}",
            "availability_topic": topics.status(fleet, me),
            "payload_available": "online",
            "payload_not_available": "offline",
            "state_class": "measurement",
            "icon": icon,
            "device": {"identifiers": [f"murmur_{node}"], "name": node, "manufacturer": "Murmur"},
            **({"unit_of_measurement": unit} if unit else {}),
        }
        messages[f"homeassistant/sensor/{node}/{key}/config"] = json.dumps(configuration)
    return messages


def _sensors(task: Task) -> dict[str, tuple[str, str | None, str]]:
    """The sensors of a device with a model for a task."""
    if task is CLASSIFICATION:
        return SENSORS
    rest = {key: sensor for key, sensor in SENSORS.items() if not key.startswith("accuracy")}
    return {**rest, f"{task.key}_all": (task.metric[0].upper() + task.metric[1:], None, "mdi:bullseye-arrow")}
