"""How the machine under a device is, for its telemetry: only what it tells, and nothing that could stop the node.

temperature      degrees Celsius, the hottest sensor's
undervoltage     1 once the supply has been too weak since the start (Raspberry Pi), else 0
clock_unset      1 as long as no time server has been heard (systemd-timesyncd), else 0
disk_free_mb     where the node's files are
memory_mb        resident memory of this process
"""

import contextlib
import shutil
from pathlib import Path

from edge import process


def read(home: Path, root: Path = Path("/")) -> dict[str, float]:
    """Now. home: the node's folder; root: where /sys, /proc and /run are."""
    values: dict[str, float] = {}
    if hot := numbers(root, "sys/class/thermal/thermal_zone*/temp"):
        values["temperature"] = max(hot) / 1000
    if alarms := numbers(root, "sys/class/hwmon/hwmon*/in*_lcrit_alarm"):
        values["undervoltage"] = max(alarms)
    if (root / "run/systemd/timesync").is_dir():
        values["clock_unset"] = 0.0 if (root / "run/systemd/timesync/synchronized").exists() else 1.0
    with contextlib.suppress(OSError):
        values["disk_free_mb"] = shutil.disk_usage(home).free / 1e6
    with contextlib.suppress(OSError, ValueError, StopIteration):
        values["memory_mb"] = process.resident(root / "proc") / 1e6
    return {key: round(value, 1) for key, value in values.items()}


def numbers(root: Path, pattern: str) -> list[float]:
    """Of all files that match and hold one."""
    values = []
    for path in sorted(root.glob(pattern)):
        with contextlib.suppress(OSError, ValueError):
            values.append(float(path.read_text()))
    return values
