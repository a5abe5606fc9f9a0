"""What an operator does with a fleet over its broker: ask, roll out models, fetch files (`edge.operations.remote`)."""

import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs7

from broker import certificates
from broker.fleet import OPERATOR, Fleet
from broker.visitor import Papers, Visitor, visit
from edge import bundle as bundles
from edge.errors import ConfigError, MessageError, TransportError
from edge.messaging import chunked, topics
from edge.operations.rollout import ROLLOUT_FILE, fingerprint
from edge.storage import atomic
from edge.storage.metrics_log import current_names

Row = dict[str, float | str]
Told = Callable[[str], None]


@dataclass
class Operator:
    """A connection in the operator's name. taken: how much of what was heard has been looked at."""

    fleet: Fleet
    visitor: Visitor
    taken: int = 0
    online: dict[str, bool] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    reports: dict[str, Row] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, chunked.Assembler] = field(default_factory=dict)

    def look(self) -> None:
        """Sort what has come in since."""
        heard = self.visitor.heard
        while self.taken < len(heard):
            topic, payload = heard[self.taken]
            self.taken += 1
            words = topic.split("/")
            if words[2:3] == ["status"] and len(words) == 4:
                self.online[words[3]] = payload == b"online"
            elif words[2:3] == ["telemetry"] and len(words) == 4:
                self.rows[words[3]] = _flat(payload)
            elif (address := topics.parse(topic)) is not None and address.kind == "report":
                self.reports[address.sender] = _flat(payload)
            elif address is not None and address.kind == "files":
                self._part(address.sender, payload)

    def _part(self, sender: str, payload: bytes) -> None:
        try:
            whole = self.parts.setdefault(sender, chunked.Assembler()).add(payload)
        except MessageError:
            return
        if whole is not None:
            self.files[sender] = whole

    def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for it, looking at what comes in; whether it came true. Raises TransportError: the broker is gone."""

        def met() -> bool:
            self.look()
            return condition()

        found = self.visitor.until(met, seconds)
        if not found and not self.visitor.connected:
            raise TransportError(f"the connection to the broker is lost ({self.visitor.reason})")
        return found

    def say(self, device: str, kind: str, payload: bytes) -> None:
        """To one device. Raises TransportError: the broker does not take it."""
        answer = self.visitor.publish(topics.Address(self.fleet.name, device, OPERATOR, kind).topic, payload)
        if answer not in ("Success", "No matching subscribers"):
            raise TransportError(f"the broker does not carry a message to {device}: {answer}")


@contextmanager
def connected(fleet: Fleet, host: str, port: int, patience: float) -> Iterator[Operator]:
    """As the fleet's operator, with all devices known by their retained status. Raises ConfigError, TransportError."""
    stem = fleet.folder / "devices" / OPERATOR / "device"
    if not stem.with_name("device.crt").is_file():
        raise ConfigError(f"no operator is enrolled; edge-broker enrol operator --fleet {fleet.folder}")
    papers = Papers(fleet.folder / "authority.crt", stem, host in fleet.hosts)
    with visit(host, port, papers, OPERATOR) as visitor:
        if not visitor.connected:
            raise TransportError(f"the broker at {host}:{port} does not let the operator in: {visitor.reason}")
        operator = Operator(fleet, visitor)
        for topic in (
            topics.telemetry(fleet.name, "+"),
            topics.inbox(fleet.name, OPERATOR),
            topics.status(fleet.name, "+"),
        ):
            if not visitor.subscribe(topic).startswith("Granted"):
                raise TransportError(
                    f"the broker does not let the operator read {topic}; give it FLEET/broker/acl anew"
                )
        # Every device's retained status comes right behind the answer to a subscription, so before this.
        operator.say(OPERATOR, "report", b"{}")
        if not operator.until(lambda: OPERATOR in operator.reports, patience):
            raise TransportError(f"the broker at {host}:{port} does not bring the operator's own message back")
        yield operator


def inventory(operator: Operator, patience: float) -> dict[str, Row]:
    """Device -> what it reports, and `online`: 1 or 0; only that of those that are away, or silent for so long."""
    there = [device for device, on in operator.online.items() if on]
    for device in there:
        operator.reports.pop(device, None)
        operator.say(device, "ask", b'{"want": "report"}')
    operator.until(lambda: all(device in operator.reports for device in there), patience)
    return {
        device: {"online": float(on), **operator.reports.get(device, {})}
        for device, on in sorted(operator.online.items())
    }


def packed(folder: Path, fleet: Fleet, name: str, made: int) -> bytes:
    """A package with the bundle in `folder`, signed by the fleet. Raises BundleError, ConfigError."""
    bundles.read(folder)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        about = json.dumps({"fleet": fleet.name, "name": name, "made": made}).encode()
        entry = tarfile.TarInfo(ROLLOUT_FILE)
        entry.size = len(about)
        archive.addfile(entry, io.BytesIO(about))
        archive.add(folder, "bundle")
    return sealed(out.getvalue(), certificates.read(fleet.folder / "signer"))


def sealed(content: bytes, pair: certificates.Pair) -> bytes:
    """A CMS message (DER) around it, signed."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
    signed = builder.add_signer(pair.certificate, pair.key, hashes.SHA256())
    return signed.sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])


def rollout(
    operator: Operator, folder: Path, stages: Sequence[Sequence[str]], rounds: int, patience: float, told: Told
) -> None:
    """Bring a bundle to the devices, stage by stage: on only when all of a stage have done `rounds` rounds with it.

    Raises ConfigError: the first device that refuses it, or has not got there in `patience` seconds; those after it
    keep what they have.
    """
    mark = fingerprint(folder)
    package = packed(folder, operator.fleet, folder.name, int(time.time()))
    done: list[str] = []
    for number, stage in enumerate(stages, start=1):
        told(f"stage {number} of {len(stages)}: {', '.join(stage)}")
        for device in stage:
            operator.reports.pop(device, None)
            for part in chunked.split(package):
                operator.say(device, "rollout", part)
        for device in stage:
            _installed(operator, device, mark, patience, done)
        begun = {device: _last_round(operator, device) for device in stage}
        for device in stage:
            operator.rows.pop(device, None)
        for device in stage:
            if not _worked(operator, device, rounds, patience):
                raise ConfigError(
                    f"{device} has installed it and does no rounds (the last was {begun[device]:.0f}); "
                    f"installed on: {', '.join([*done, *stage])}; nothing was sent to the rest"
                )
        done += stage
        told(f"stage {number}: all at work")


def _installed(operator: Operator, device: str, mark: str, patience: float, done: Sequence[str]) -> None:
    def settled() -> bool:
        found = operator.reports.get(device, {})
        return found.get("bundle") == mark or str(found.get("outcome", "")).startswith("refused")

    operator.until(settled, patience)
    found = operator.reports.get(device, {})
    if found.get("bundle") != mark:
        why = found.get("outcome") or f"has said nothing for {patience:.0f} s"
        raise ConfigError(f"{device} {why}; installed on: {', '.join(done) or 'none'}; nothing was sent to the rest")


def _worked(operator: Operator, device: str, rounds: int, patience: float) -> bool:
    return operator.until(lambda: _last_round(operator, device) >= rounds, patience)


def _last_round(operator: Operator, device: str) -> float:
    return float(operator.rows.get(device, {}).get("round", 0))


def collect(operator: Operator, devices: Sequence[str], target: Path, patience: float) -> dict[str, int]:
    """Fetch metrics and logs into target/DEVICE/; device -> bytes of those that have answered."""
    for device in devices:
        operator.say(device, "ask", b'{"want": "files"}')
    operator.until(lambda: all(device in operator.files for device in devices), patience)
    for device, content in operator.files.items():
        folder = target / device
        atomic.remove(folder)
        try:
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                atomic.unpack(archive, folder, 100_000_000)
        except (tarfile.TarError, EOFError, ValueError, OSError) as reason:
            raise ConfigError(f"{device} sent no archive of files ({reason})") from None
    return {device: len(content) for device, content in operator.files.items()}


def stages(devices: Sequence[str], words: str) -> list[list[str]]:
    """`1,25%,100%` of the devices, in order: each stage goes on where the one before ended. Raises ConfigError."""
    found, at = [], 0
    for word in words.split(","):
        number = word.strip().removesuffix("%")
        if not number.isdigit() or not 0 < int(number) <= (100 if word.strip().endswith("%") else 10**6):
            raise ConfigError(f"--stages {words}: '{word}' is neither a number of devices nor a percentage")
        end = -(-len(devices) * int(number) // 100) if word.strip().endswith("%") else int(number)
        if end > at:
            found.append(list(devices[at:end]))
            at = min(end, len(devices))
    return found


def _flat(payload: bytes) -> Row:
    """Flat JSON of numbers and short texts; nothing of anything else."""
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return current_names(
        {
            str(k): v[:300] if isinstance(v, str) else float(v)
            for k, v in found.items()
            if isinstance(v, int | float | str)
        }
    )
