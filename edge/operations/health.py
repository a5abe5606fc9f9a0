"""The health of the machine under a device, for its telemetry: what it reports, and nothing that could stop the node.

temperature      degrees Celsius, of the hottest sensor
undervoltage     1 once the supply has been too weak since the start (Raspberry Pi), else 0
clock_unset      1 until a time server has answered (systemd-timesyncd), then 0
disk_free_mb     where the node's files are
memory_mb        resident memory of this process
"""

import contextlib
import shutil
from pathlib import Path

from edge import process


def read(home: Path, root: Path = Path("/")) -> dict[str, float]:
    """Measure now.

    Args:
        home: the node's folder, whose file system `disk_free_mb` is about.
        root: where /sys, /proc and /run are.

    Returns:
        Those keys of the module's table that this machine has, rounded to a decimal.
    """
    values: dict[str, float] = {}
    if hot := numbers(root, "sys/class/thermal/thermal_zone*/temp"):
        values["temperature"] = max(hot) / 1000
    if alarms := numbers(root, "sys/class/hwmon/hwmon*/in*_lcrit_alarm"):
        values["undervoltage"] = max(alarms)
    if (root / "run/systemd/timesync").is_dir():
        values["clock_unset"] = 0.0 if (root / "run/systemd/timesync/synchronized").exists() else 1.0
    with contextlib.suppress(OSError):
        values["disk_free_mb"] = shutil.disk_usage(home).free / 1e6
    with contextlib.suppress(OSError, ValueError):
        values["memory_mb"] = process.memory("VmRSS", root) / 1e6
    return {key: round(value, 1) for key, value in values.items()}


def numbers(root: Path, pattern: str) -> list[float]:
    """Read the files that match a pattern below `root`; those that hold no number are left out."""
    values = []
    for path in sorted(root.glob(pattern)):
        with contextlib.suppress(OSError, ValueError):
            values.append(float(path.read_text()))
    return values
