"""What is known of a fleet, from its status and telemetry: the present, some of the past, and alarms.

Bounded, whatever arrives: MAX_DEVICES devices, LONGEST points of a curve, POINTS of all curves. Alarms:

    silent      no telemetry for thrice its usual pause, and QUIET seconds at least; or its last will
    diverging   its loss is not a number, or RISE times the lowest it had
    rejected    it has refused messages since its alarms were last acknowledged (malformed, foreign or invalid ones);
                whose digest is another one is named
    learning    it has ended at chance, or its loss has not fallen (`edge.outcome`)
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from broker import reports
from edge import outcome
from edge.messaging.inbox import OTHER_DIGEST
from edge.task import ON_TEST

LONGEST = 400
"""points of a device's curve, and of the fleet's"""
POINTS = 1_000_000
"""of all devices' curves together, some 100 bytes each: of many devices, each has shorter ones"""
SHORTEST = 8
SHOWN = (
    "round",
    "loss",
    *ON_TEST,
    "payload_bytes_sent",
    "memory_mb",
    "temperature",
    "timeouts",
    "consensus_distance",
)
"""of a device's row, in the table"""
CURVES = ("loss", *ON_TEST, "consensus_distance", "payload_bytes_sent", "memory_mb", "temperature")
"""of a device that are kept"""
OF_FLEET = ("loss", *ON_TEST, "consensus_distance")
REFUSALS = ("refused_malformed", "refused_foreign", "refused_run", "rejected_invalid", "rejected_by_aggregator")
DIGESTS = f"refused_{OTHER_DIGEST}"
NAMED = 3
"""neighbours that an alarm names"""
QUIET = 20.0
RISE = 3.0
Curve = list[tuple[float, float]]


@dataclass
class _Device:
    online: bool = True
    seen: float = 0.0
    row: dict[str, float] = field(default_factory=dict)
    pauses: list[float] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    lowest: float = math.inf
    refused: float = 0.0
    """messages, when the alarms were last acknowledged"""
    excused: bool = False
    """from the alarm "silent", until it reports again"""
    known_outcome: bool = False
    """whether the alarm "learning" was acknowledged, until it reports again"""
    diverged: bool = False
    """whether its last loss was no number"""

    def take(self, row: dict[str, float], diverged: bool, now: float, longest: int) -> None:
        if self.seen:
            self.pauses = [*self.pauses, now - self.seen][-20:]
        self.row, self.seen, self.online, self.excused, self.diverged = row, now, True, False, diverged
        self.known_outcome = False
        self.lowest = min(self.lowest, row.get("loss", math.inf))
        for key in CURVES:
            if key in row and "round" in row:
                _add(self.curves.setdefault(key, []), (row["round"], row[key]), longest)

    def alarms(self, now: float) -> dict[str, str]:
        alarms = {}
        pause = now - self.seen
        usual = median(self.pauses) if self.pauses else QUIET / 3
        if self.excused:
            pass
        elif not self.online:
            alarms["silent"] = "offline (last will)"
        elif self.seen and pause > max(3 * usual, QUIET):
            alarms["silent"] = f"nothing heard for {pause:.0f} s"
        loss = self.row.get("loss")
        if self.diverged:
            alarms["diverging"] = "its loss is no number"
        elif loss is not None and loss > RISE * self.lowest + 0.1:
            alarms["diverging"] = f"loss {loss:.3g}, was {self.lowest:.3g}"
        if (refused := self.rejected - self.refused) > 0:
            alarms["rejected"] = f"{refused:.0f} messages refused{self._other_digests()}"
        words = outcome.sentences(self.row, self.row.get("accuracy_all"), outcome.supervised_loss(self.row))
        if words and not self.known_outcome:
            alarms["learning"] = ", ".join(words)
        return alarms

    def _other_digests(self) -> str:
        """Whose messages are about something else than its own."""
        senders = [key.removeprefix(DIGESTS) for key in sorted(self.row) if key.startswith(DIGESTS)]
        if not senders:
            return ""
        names = ", ".join(senders[:NAMED]) + (", ..." if len(senders) > NAMED else "")
        return f"; another reference set, model or class names at {names} (their digest differs)"

    @property
    def rejected(self) -> float:
        return sum(self.row.get(key, 0.0) for key in REFUSALS)


@dataclass
class FleetState:
    """One fleet. clock: returns seconds since 1970."""

    name: str
    clock: Callable[[], float]
    place: str = ""
    """the broker's address, for people"""
    lock: threading.Lock = field(default_factory=threading.Lock)
    _devices: dict[str, _Device] = field(default_factory=dict)
    _longest: int = LONGEST
    """points of a device's curve, for as many devices as there are"""
    _sums: dict[str, dict[float, tuple[float, int]]] = field(default_factory=dict)
    """key -> round -> (sum over the devices, how many)"""
    refused: int = 0
    """messages that were neither status nor telemetry"""

    def take(self, topic: str, payload: bytes, now: float) -> None:
        """Take a message of the broker's in; what is no report is only counted."""
        report = reports.read(topic, payload)
        with self.lock:
            if report is None or not self._room(report.device):
                self.refused += 1
                return
            if report.row is None:
                device, online = self._device(report.device), bool(report.online)
                device.online, device.excused = online, device.excused and not online
                return
        self.report(report.device, report.row, now, diverged=report.diverged)

    def report(self, device: str, row: dict[str, float], now: float, *, diverged: bool = False) -> None:
        """Take a device's row of telemetry in. diverged: its loss was no number, if the row does not say it."""
        diverged = diverged or not math.isfinite(row.get("loss", 0.0))
        row = {key: value for key, value in row.items() if math.isfinite(value)}
        with self.lock:
            self._device(device).take(row, diverged, now, self._longest)
            for key in OF_FLEET:
                if key in row and "round" in row:
                    sums = self._sums.setdefault(key, {})
                    total, count = sums.get(row["round"], (0.0, 0))
                    sums[row["round"]] = total + row[key], count + 1
                    if len(sums) > 2 * LONGEST:
                        for number in sorted(sums)[1::2][: len(sums) // 2]:
                            del sums[number]

    def snapshot(self) -> dict[str, Any]:
        """Return all that the first page shows, ready for JSON."""
        now = self.clock()
        with self.lock:
            devices = sorted(self._devices.items())
            links = {
                (name, key.removeprefix("sent_to/")): size
                for name, device in devices
                for key, size in device.row.items()
                if key.startswith("sent_to/")
            }
            return {
                "fleet": self.name,
                "place": self.place,
                "now": now,
                "devices": [self._summary(name, device, now) for name, device in devices],
                "links": [{"from": a, "to": b, "bytes": size} for (a, b), size in links.items()],
                "curves": {
                    key: [(number, total / count) for number, (total, count) in sorted(sums.items())]
                    for key, sums in self._sums.items()
                },
                "refused": self.refused,
                "scores": self._scores() or {"accuracy_all": ON_TEST["accuracy_all"]},
            }

    def device(self, name: str) -> dict[str, Any] | None:
        """Return all about one device; None if it is not known."""
        now = self.clock()
        with self.lock:
            if (device := self._devices.get(name)) is None:
                return None
            return {
                **self._summary(name, device, now),
                "row": dict(sorted(device.row.items())),
                "curves": {key: list(curve) for key, curve in device.curves.items()},
            }

    def acknowledge(self, name: str) -> bool:
        """Silence a device's alarms until something new happens; returns whether the device is known."""
        with self.lock:
            if (device := self._devices.get(name)) is None:
                return False
            device.excused, device.refused = "silent" in device.alarms(self.clock()), device.rejected
            device.lowest = device.row.get("loss", device.lowest)
            device.known_outcome = True
            return True

    def forget(self, name: str) -> bool:
        """Take a device off the page until it reports again; returns whether it was there."""
        with self.lock:
            return self._devices.pop(name, None) is not None

    def _device(self, name: str) -> _Device:
        """The device of that name, made if it is new; of twice as many devices all curves become shorter."""
        if name not in self._devices:
            self._devices[name] = _Device()
            count = len(self._devices)
            if count & (count - 1) == 0:
                self._longest = max(SHORTEST, min(LONGEST, POINTS // (2 * count * (len(CURVES) - len(ON_TEST) + 1))))
                for device in self._devices.values():
                    for curve in device.curves.values():
                        _thin(curve, self._longest)
        return self._devices[name]

    def _scores(self) -> dict[str, str]:
        """Keys and names of the scores that devices have reported: one, unless fleets with several tasks are mixed."""
        return {
            key: title for key, title in ON_TEST.items() if any(key in device.row for device in self._devices.values())
        }

    def _room(self, device: str) -> bool:
        return device in self._devices or len(self._devices) < reports.MAX_DEVICES

    def _summary(self, name: str, device: _Device, now: float) -> dict[str, Any]:
        return {
            "id": name,
            "online": device.online,
            "ago": max(0.0, now - device.seen) if device.seen else None,
            "alarms": device.alarms(now),
            **{key: device.row.get(key) for key in SHOWN},
        }


def _add(curve: Curve, point: tuple[float, float], longest: int) -> None:
    """Add a point; of a full curve every other one goes. A round that is done again begins again there."""
    while curve and curve[-1][0] >= point[0]:
        curve.pop()
    curve.append(point)
    _thin(curve, longest)


def _thin(curve: Curve, longest: int) -> None:
    while len(curve) > longest:
        del curve[1:-1:2]
