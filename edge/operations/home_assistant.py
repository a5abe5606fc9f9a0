"""Home Assistant finds a device by itself: retained MQTT discovery messages, one a sensor.

    homeassistant/sensor/{fleet}-{id}/{key}/config

Each says where the device's telemetry and status are (`edge.messaging.topics`), and which key of the telemetry it
shows. Off unless `home_assistant` is set; an empty message at the same topic makes a sensor go away.
"""

import json

from edge.interfaces import NodeId
from edge.messaging import topics

SENSORS = {
    "round": ("Round", None, "mdi:counter"),
    "loss": ("Loss", None, "mdi:chart-line"),
    "accuracy": ("Accuracy on own data", "%", "mdi:bullseye"),
    "accuracy_all": ("Accuracy", "%", "mdi:bullseye-arrow"),
    "timeouts": ("Neighbours that timed out", None, "mdi:access-point-off"),
    "payload_bytes_sent": ("Sent", "B", "mdi:upload-network"),
}
"""key of telemetry -> name, unit, icon"""


def discovery(fleet: str, me: NodeId) -> dict[str, str]:
    """Topic -> what to retain there."""
    node = f"{fleet}-{me}"
    found = {}
    for key, (name, unit, icon) in SENSORS.items():
        value = f"value_json.{key} * 100" if unit == "%" else f"value_json.{key}"
        about = {
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
        found[f"homeassistant/sensor/{node}/{key}/config"] = json.dumps(about)
    return found
