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


def read(home: Path, root: Path = Path("/")) -> dict[str, float]:
    """Now. home: the node's folder; root: where /sys, /proc and /run are."""
    found: dict[str, float] = {}
    if hot := numbers(root, "sys/class/thermal/thermal_zone*/temp"):
        found["temperature"] = max(hot) / 1000
    if alarms := numbers(root, "sys/class/hwmon/hwmon*/in*_lcrit_alarm"):
        found["undervoltage"] = max(alarms)
    if (root / "run/systemd/timesync").is_dir():
        found["clock_unset"] = 0.0 if (root / "run/systemd/timesync/synchronized").exists() else 1.0
    with contextlib.suppress(OSError):
        found["disk_free_mb"] = shutil.disk_usage(home).free / 1e6
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = (root / "proc/self/status").read_text().splitlines()
        found["memory_mb"] = float(next(line.split()[1] for line in lines if line.startswith("VmRSS:"))) * 1024 / 1e6
    return {key: round(value, 1) for key, value in found.items()}


def numbers(root: Path, pattern: str) -> list[float]:
    """Of all files that match and hold one."""
    found = []
    for path in sorted(root.glob(pattern)):
        with contextlib.suppress(OSError, ValueError):
            found.append(float(path.read_text()))
    return found
