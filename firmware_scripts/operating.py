"""What an operator does with a fleet over its broker: ask, roll out models, fetch files (`edge.operations.remote`)."""

import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from broker import probe, reports
from broker.fleet import Fleet
from broker.probe import ProbeClient
from broker.rules import OPERATOR
from edge.errors import ConfigError, MessageError, TransportError
from edge.messaging import chunked, topics
from edge.storage import archive, atomic, metrics_log
from edge.transports.mqtt import Credentials
from firmware_scripts.signed_package import Package

LARGEST = 100_000_000
"""bytes that a device's metrics and logs unpack to"""
Row = reports.Report
Notify = Callable[[str], None]
"""is given a line for people"""


@dataclass
class Operator:
    """A connection in the operator's name, and what devices have sent over it.

    online: by the retained status. rows: the last telemetry of every device. reports: its last report. files: its last
    archive, of those that were asked for one. parts: of archives that are not complete yet. Each has at most
    `reports.MAX_DEVICES` devices.
    """

    fleet: Fleet
    client: ProbeClient
    online: dict[str, bool] = field(default_factory=dict)
    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    reports: dict[str, Row] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, chunked.Assembler] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    """devices that are to send their files"""

    def sort_messages(self) -> None:
        """Sort the messages that have arrived since the last call; they are not kept."""
        for topic, payload in self.client.take():
            if (telemetry := reports.read(topic, payload)) is not None and self._known(telemetry.device):
                if telemetry.row is None:
                    self.online[telemetry.device] = bool(telemetry.online)
                else:
                    self.rows[telemetry.device] = telemetry.row
            elif (address := topics.parse(topic)) is None or not self._known(address.sender):
                continue
            elif address.kind == "report":
                self.reports[address.sender] = reports.read_report(payload)
            elif address.kind == "files" and address.sender in self.asked:
                self._add_part(address.sender, payload)

    def _known(self, device: str) -> bool:
        """Whether there is room for a device."""
        known = self.online.keys() | self.rows.keys() | self.reports.keys()
        return device in known or len(known) < reports.MAX_DEVICES

    def _add_part(self, sender: str, payload: bytes) -> None:
        try:
            whole = self.parts.setdefault(sender, chunked.Assembler()).add(payload)
        except MessageError:
            return
        if whole is not None:
            self.files[sender] = whole

    def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Sort messages until a condition holds; returns whether it does. Raises TransportError: no connection."""

        def met() -> bool:
            self.sort_messages()
            return condition()

        holds = self.client.until(met, seconds)
        if not holds and not self.client.connected:
            raise TransportError(f"the connection to the broker is lost ({self.client.reason})")
        return holds

    def send(self, device: str, kind: str, payload: bytes) -> None:
        """Send a message to one device. Raises TransportError: the broker does not take it."""
        answer = self.client.publish(topics.Address(self.fleet.name, device, OPERATOR, kind).topic, payload)
        if answer not in ("Success", "No matching subscribers"):
            raise TransportError(f"the broker does not carry a message to {device}: {answer}")


@contextmanager
def connected(fleet: Fleet, host: str, port: int, timeout: float) -> Iterator[Operator]:
    """Connect as the fleet's operator while the block lasts; all devices are known by their retained status.

    Args:
        fleet: its folder has the operator's credentials.
        host: of the broker, as it is reached from here.
        port: of the broker.
        timeout: seconds to wait for the broker to carry a message.

    Raises:
        ConfigError: no operator is enrolled.
        TransportError: the broker does not answer, or does not let the operator do what it has to.
    """
    folder = fleet.folder / "devices" / OPERATOR
    if not (folder / "device.crt").is_file():
        raise ConfigError(f"no operator is enrolled; edge-broker enrol operator --fleet {fleet.folder}")
    credentials = Credentials.of_folder(folder, check_hostname=host in fleet.hosts)
    with probe.connect(host, port, credentials, OPERATOR) as client:
        if not client.connected:
            raise TransportError(f"the broker at {host}:{port} does not let the operator in: {client.reason}")
        operator = Operator(fleet, client)
        for topic in (
            topics.telemetry(fleet.name, "+"),
            topics.inbox(fleet.name, OPERATOR),
            topics.status(fleet.name, "+"),
        ):
            if not client.subscribe(topic).startswith("Granted"):
                raise TransportError(
                    f"the broker does not let the operator read {topic}; give it FLEET/broker/acl anew"
                )
        # Every device's retained status comes right behind the answer to a subscription, so before this.
        operator.send(OPERATOR, "report", b"{}")
        if not operator.until(lambda: OPERATOR in operator.reports, timeout):
            raise TransportError(f"the broker at {host}:{port} does not bring the operator's own message back")
        yield operator


def inventory(operator: Operator, timeout: float) -> dict[str, Row]:
    """Ask every device that is online how it is.

    Args:
        operator: is connected.
        timeout: seconds to wait for a silent device.

    Returns:
        Device -> its report, and `online`: 1 or 0. A device that is away, or silent, has only that.
    """
    there = [device for device, online in operator.online.items() if online]
    for device in there:
        operator.reports.pop(device, None)
        operator.send(device, "ask", b'{"want": "report"}')
    operator.until(lambda: all(device in operator.reports for device in there), timeout)
    return {
        device: {"online": float(online), **operator.reports.get(device, {})}
        for device, online in sorted(operator.online.items())
    }


def rollout(
    operator: Operator, package: Package, stages: Sequence[Sequence[str]], rounds: int, timeout: float, notify: Notify
) -> None:
    """Bring a bundle to devices, stage by stage: the next stage begins when all devices of this one work with it.

    Args:
        operator: is connected.
        package: signed for the devices of all stages (`firmware_scripts.signed_package`).
        stages: devices of each stage.
        rounds: that a device has to do with the bundle.
        timeout: seconds for a device to install it, and to do these rounds.
        notify: is given a line when a stage begins and ends.

    Raises:
        ConfigError: a device refuses the bundle, or is too slow; nothing is sent to the devices after it.
    """
    done: list[str] = []
    for number, stage in enumerate(stages, start=1):
        notify(f"stage {number} of {len(stages)}: {', '.join(stage)}")
        for device in stage:
            operator.reports.pop(device, None)
            for part in chunked.split(package.content):
                operator.send(device, "rollout", part)
        for device in stage:
            _wait_until_installed(operator, device, package.fingerprint, timeout, done)
        begun = {device: _last_round(operator, device) for device in stage}
        for device in stage:
            operator.rows.pop(device, None)
        for device in stage:
            if not operator.until(partial(_has_done, operator, device, rounds), timeout):
                raise ConfigError(
                    f"{device} has installed it and does no rounds (the last was {begun[device]:.0f}); "
                    f"installed on: {', '.join([*done, *stage])}; nothing was sent to the rest"
                )
        done += stage
        notify(f"stage {number}: all at work")


def _wait_until_installed(operator: Operator, device: str, mark: str, timeout: float, done: Sequence[str]) -> None:
    def settled() -> bool:
        report = operator.reports.get(device, {})
        return report.get("bundle") == mark or str(report.get("outcome", "")).startswith("refused")

    operator.until(settled, timeout)
    report = operator.reports.get(device, {})
    if report.get("bundle") != mark:
        why = report.get("outcome") or f"has sent no report for {timeout:.0f} s"
        raise ConfigError(f"{device} {why}; installed on: {', '.join(done) or 'none'}; nothing was sent to the rest")


def _has_done(operator: Operator, device: str, rounds: int) -> bool:
    return _last_round(operator, device) >= rounds


def _last_round(operator: Operator, device: str) -> float:
    return operator.rows.get(device, {}).get("round", 0.0)


def collect(operator: Operator, devices: Sequence[str], target: Path, timeout: float) -> dict[str, int]:
    """Fetch metrics and logs.

    Args:
        operator: is connected.
        devices: to ask.
        target: folder; a folder for each device is made in it, in place of one that was made here before.
        timeout: seconds to wait for a silent device.

    Returns:
        Device -> bytes of its archive; only those that have answered.

    Raises:
        ConfigError: a device sent something else, or something else is where its folder is to be.
    """
    for device in devices:
        _require_ours(target / topics.name(device, "device"))
    operator.asked, operator.files = set(devices), {}
    for device in devices:
        operator.send(device, "ask", b'{"want": "files"}')
    operator.until(lambda: all(device in operator.files for device in devices), timeout)
    for device, content in operator.files.items():
        try:
            _unpack(content, target / device)
        except (tarfile.TarError, EOFError, ValueError, OSError) as reason:
            raise ConfigError(f"{device} sent no archive of files ({reason})") from None
    operator.asked = set()
    return {device: len(content) for device, content in operator.files.items()}


def _unpack(content: bytes, folder: Path) -> None:
    """Put a device's files into its folder: all of them, or none. Raises ValueError and others: they are none."""
    part = folder.with_name(f".{folder.name}.part")
    atomic.remove(part)
    try:
        with tarfile.open(fileobj=io.BytesIO(archive.decompressed(content, LARGEST)), mode="r:") as files:
            if more := {member.name for member in files.getmembers()} - set(metrics_log.FILES):
                raise ValueError(f"{sorted(more)[0]!r} is nothing that a device keeps")
            archive.unpack(files, part, LARGEST)
        _require_ours(folder)
        folder.mkdir(exist_ok=True)
        for name in metrics_log.FILES:
            (folder / name).unlink(missing_ok=True)
        for path in part.iterdir():
            path.replace(folder / path.name)
    finally:
        atomic.remove(part)


def _require_ours(folder: Path) -> None:
    """Refuse a folder that was not made here: nothing of somebody else's is removed. Raises ConfigError."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ConfigError(f"{folder} is no folder; choose another one with -o")
    more = {path.name for path in folder.iterdir()} - set(metrics_log.FILES) if folder.exists() else set()
    if more:
        raise ConfigError(f"{folder} holds {sorted(more)[0]}, which no device has sent; choose another folder with -o")


def stages(devices: Sequence[str], words: str) -> list[list[str]]:
    """Divide devices into the stages of a rollout.

    Args:
        devices: in the order in which they get it.
        words: how far each stage goes, as numbers of devices or percentages.

    Returns:
        The devices of each stage; a stage that adds none is left out.

    Raises:
        ConfigError: `words` is something else.

    >>> stages(["a", "b", "c", "d", "e"], "1,50%,100%")
    [['a'], ['b', 'c'], ['d', 'e']]
    """
    result, begin = [], 0
    for word in words.split(","):
        number = word.strip().removesuffix("%")
        if not number.isdigit() or not 0 < int(number) <= (100 if word.strip().endswith("%") else 10**6):
            raise ConfigError(f"--stages {words}: '{word}' is neither a number of devices nor a percentage")
        end = -(-len(devices) * int(number) // 100) if word.strip().endswith("%") else int(number)
        if end > begin:
            result.append(list(devices[begin:end]))
            begin = min(end, len(devices))
    return result
