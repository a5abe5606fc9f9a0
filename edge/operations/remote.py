"""What an operator may ask of a device in the field, over the broker that is there.

The operator is one more name in the fleet, enrolled like the others; the broker's rules let it send what any device
may. Its messages are of kinds of their own:

    ask      to the device      {"want": "report"} or {"want": "files"}
    rollout  to the device      a part (`edge.messaging.chunked`) of a signed package (`edge.operations.rollout`)
    report   to the operator    flat JSON: which device, which model, its health, and what became of a rollout
    files    to the operator    parts of a .tar.gz: metrics.jsonl, log.txt
"""

import json
import logging
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge.errors import MessageError, MurmurError
from edge.interfaces import Delivery, NodeId, Transport
from edge.messaging import chunked
from edge.operations import health
from edge.operations.rollout import Installer, NewBundleError, RolloutInfo, fingerprint, read_info
from edge.storage import archive
from edge.task import SCORES

__all__ = ["OPERATOR", "AdministeredTransport", "NewBundleError", "Request", "parse_request"]

OPERATOR = "operator"
ASK, ROLLOUT, REPORT, FILES = "ask", "rollout", "report", "files"
"""kinds of message"""
REPORTED = ("round", "loss", *(f"{key}_all" for key in SCORES), "timeouts")
"""keys of the last row of telemetry that a report repeats"""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReportRequest:
    """The operator asks how the device is."""


@dataclass(frozen=True)
class FilesRequest:
    """The operator asks for the device's metrics and log."""


@dataclass(frozen=True)
class PackagePart:
    """The operator sends a part of a package to install."""

    payload: bytes


Request = ReportRequest | FilesRequest | PackagePart


def parse_request(delivery: Delivery) -> Request | None:
    """Read what an operator sent.

    >>> parse_request(Delivery("operator", "ask", b'{"want": "files"}'))
    FilesRequest()

    Returns:
        The request; None for a kind of message that asks nothing of a device.

    Raises:
        MessageError: a question that does not exist.
    """
    if delivery.kind == ROLLOUT:
        return PackagePart(delivery.payload)
    if delivery.kind != ASK:
        return None
    try:
        want = json.loads(delivery.payload)["want"]
    except (ValueError, KeyError, TypeError, RecursionError):
        want = None
    if want == "files":
        return FilesRequest()
    if want == "report":
        return ReportRequest()
    raise MessageError('expected {"want": "report"} or {"want": "files"}')


@dataclass
class AdministeredTransport:
    """A transport that answers an operator and passes everything else on. See `edge.interfaces.Transport`.

    Args:
        inner: carries everything.
        me: the device.
        files: given to the operator, those that exist.
        installer: installs packages; knows the node's folder and its bundle.
    """

    inner: Transport
    me: NodeId
    files: tuple[Path, ...]
    installer: Installer
    _row: dict[str, float] = field(default_factory=dict)
    _package: chunked.Assembler = field(default_factory=chunked.Assembler)
    _outcome: str = ""
    """what became of the last rollout"""

    def __post_init__(self) -> None:
        self.traffic = self.inner.traffic
        info = read_info(self.installer.bundle)
        if info is not None:
            self._outcome = _installed(info)
            self._report()  # the operator waits for it

    def send(self, receiver: NodeId, kind: str, payload: bytes) -> None:
        """See `Transport.send`."""
        self.inner.send(receiver, kind, payload)

    def receive(self) -> list[Delivery]:
        """See `Transport.receive`. Raises NewBundleError once a bundle is installed."""
        deliveries = self.inner.receive()
        for delivery in deliveries:
            if delivery.sender == OPERATOR:
                self._answer(delivery)
        return [delivery for delivery in deliveries if delivery.sender != OPERATOR]

    def backlog(self, receiver: NodeId) -> int:
        """See `Transport.backlog`."""
        return self.inner.backlog(receiver)

    def wait(self, seconds: float) -> bool:
        """See `Transport.wait`."""
        return self.inner.wait(seconds)

    def report(self, row: Mapping[str, float]) -> None:
        """See `Transport.report`."""
        self._row = dict(row)
        self.inner.report(row)

    def close(self) -> None:
        """See `Transport.close`."""
        self.inner.close()

    def _answer(self, delivery: Delivery) -> None:
        """Do what is asked; what cannot be done is logged and reported as refused."""
        try:
            request = parse_request(delivery)
            if isinstance(request, ReportRequest):
                self._report()
            elif isinstance(request, FilesRequest):
                self._send_files()
            elif isinstance(request, PackagePart):
                self._install(request)
        except (MessageError, MurmurError, OSError, ValueError, EOFError, tarfile.TarError) as reason:
            self._outcome = f"refused: {' '.join(str(reason).split())}"
            _log.warning("operator: %s", self._outcome)
            self._report()

    def _install(self, request: PackagePart) -> None:
        package = self._package.add(request.payload)
        if package is not None:
            self._outcome = _installed(RolloutInfo(name=self.installer.install(package)))
            self._report()

    def _send_files(self) -> None:
        content = archive.pack({path.name: path for path in self.files if path.is_file()}, compress=True)
        for payload in chunked.split(content):
            self.inner.send(OPERATOR, FILES, payload)

    def _report(self) -> None:
        report: dict[str, str | float] = {
            "device": self.me,
            "bundle": fingerprint(self.installer.bundle),
            "outcome": self._outcome,
            **_image(),
            **health.read(self.installer.folder),
            **{key: self._row[key] for key in REPORTED if key in self._row},
        }
        self.inner.send(OPERATOR, REPORT, json.dumps(report).encode())


def _installed(info: RolloutInfo) -> str:
    return f"installed {info.name}"


def _image(root: Path = Path("/")) -> dict[str, str]:
    """Board and version of the image that this runs on, if it is one of ours."""
    try:
        image = json.loads((root / "etc/murmur/image.json").read_text())
        return {"board": str(image["board"]), "image": str(image["version"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
