"""What an operator does with a fleet over its broker: ask, roll out models, fetch files (`edge.operations.remote`)."""

import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from broker import probe
from broker.fleet import Fleet
from broker.probe import ProbeClient
from broker.rules import OPERATOR
from edge.errors import ConfigError, MessageError, TransportError
from edge.messaging import chunked, topics
from edge.operations.rollout import fingerprint
from edge.storage import archive, atomic
from edge.storage.metrics_log import current_names
from edge.transports.mqtt import Credentials
from firmware_scripts import signed_package

LARGEST = 100_000_000
"""bytes that a device's metrics and logs unpack to"""
Row = dict[str, float | str]
Notify = Callable[[str], None]
"""is given a line for people"""


@dataclass
class Operator:
    """A connection in the operator's name, and what devices have sent over it.

    read: how many of the client's messages have been sorted. online: by the retained status. rows: the last telemetry
    of every device. reports: its last report. files: its last archive. parts: of archives that are not complete yet.
    """

    fleet: Fleet
    client: ProbeClient
    read: int = 0
    online: dict[str, bool] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    reports: dict[str, Row] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, chunked.Assembler] = field(default_factory=dict)

    def sort_messages(self) -> None:
        """Sort the messages that have arrived since the last call."""
        messages = self.client.messages
        while self.read < len(messages):
            topic, payload = messages[self.read]
            self.read += 1
            if (source := topics.parse_device(topic)) is not None:
                if source.channel == topics.STATUS:
                    self.online[source.device] = payload == b"online"
                else:
                    self.rows[source.device] = _flat(payload)
            elif (address := topics.parse(topic)) is not None and address.kind == "report":
                self.reports[address.sender] = _flat(payload)
            elif address is not None and address.kind == "files":
                self._add_part(address.sender, payload)

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
    operator: Operator, folder: Path, stages: Sequence[Sequence[str]], rounds: int, timeout: float, notify: Notify
) -> None:
    """Bring a bundle to devices, stage by stage: the next stage begins when all devices of this one work with it.

    Args:
        operator: is connected.
        folder: of the bundle.
        stages: devices of each stage.
        rounds: that a device has to do with the bundle.
        timeout: seconds for a device to install it, and to do these rounds.
        notify: is given a line when a stage begins and ends.

    Raises:
        BundleError: the folder is no bundle.
        ConfigError: a device refuses the bundle, or is too slow; nothing is sent to the devices after it.
    """
    mark = fingerprint(folder)
    content = signed_package.build(folder, operator.fleet, folder.name, int(time.time()))
    done: list[str] = []
    for number, stage in enumerate(stages, start=1):
        notify(f"stage {number} of {len(stages)}: {', '.join(stage)}")
        for device in stage:
            operator.reports.pop(device, None)
            for part in chunked.split(content):
                operator.send(device, "rollout", part)
        for device in stage:
            _wait_until_installed(operator, device, mark, timeout, done)
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
    return float(operator.rows.get(device, {}).get("round", 0))


def collect(operator: Operator, devices: Sequence[str], target: Path, timeout: float) -> dict[str, int]:
    """Fetch metrics and logs.

    Args:
        operator: is connected.
        devices: to ask.
        target: folder; a folder for each device is made in it, in place of an older one.
        timeout: seconds to wait for a silent device.

    Returns:
        Device -> bytes of its archive; only those that have answered.

    Raises:
        ConfigError: a device sent something else.
    """
    for device in devices:
        operator.send(device, "ask", b'{"want": "files"}')
    operator.until(lambda: all(device in operator.files for device in devices), timeout)
    for device, content in operator.files.items():
        folder = target / device
        atomic.remove(folder)
        try:
            with tarfile.open(fileobj=io.BytesIO(content)) as files:
                archive.unpack(files, folder, LARGEST)
        except (tarfile.TarError, EOFError, ValueError, OSError) as reason:
            raise ConfigError(f"{device} sent no archive of files ({reason})") from None
    return {device: len(content) for device, content in operator.files.items()}


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


def _flat(payload: bytes) -> Row:
    """Read flat JSON of numbers and short texts; everything else in it is left out."""
    try:
        row = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(row, dict):
        return {}
    return current_names(
        {
            str(k): v[:300] if isinstance(v, str) else float(v)
            for k, v in row.items()
            if isinstance(v, int | float | str)
        }
    )
