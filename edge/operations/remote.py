"""What an operator may ask of a device in the field, over the broker that is there.

The operator is one more name in the fleet, enrolled like the others; the broker's rules let it say what any device may.
Its messages are of kinds of their own:

    ask      to the device      {"want": "report"} or {"want": "files"}
    rollout  to the device      parts (`edge.messaging.chunked`) of a package: a model, signed
    report   to the operator    flat JSON: who, which model, how it is, and what became of a rollout
    files    to the operator    parts of a .tar.gz: metrics.jsonl, log.txt

A package is a CMS message (RFC 5652, as `openssl cms -sign` makes them) around a tar archive: rollout.json, saying for
which fleet, under which name and when it was made, and the folder bundle/. Only whoever holds a key that the fleet's
authority certified for signing can make one, which the broker's machine and the devices do not; older ones than the
one that is installed are refused. What is installed has been tried on this device before anything is replaced.
"""

import hashlib
import io
import json
import logging
import os
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge.command import last_line
from edge.errors import MessageError, MurmurError
from edge.interfaces import Delivery, NodeId, Transport
from edge.messaging.chunked import LARGEST, Parts, cut
from edge.operations import health
from edge.storage import atomic, checkpoint_files

OPERATOR = "operator"
ABOUT = "rollout.json"
"""in a package, and beside the bundle that came with it"""
_log = logging.getLogger(__name__)


class NewBundleError(Exception):
    """A bundle has been installed: the node begins anew with it. No fault of anybody's."""


@dataclass
class Attended:
    """A transport that answers an operator, and passes on all the rest. See `edge.interfaces.Transport`.

    here: the node's folder; bundle: of the model, in it; kept: files that are given to the operator, where they are
    there; authority: certificate by which packages are verified, none are taken without; trial: raises MurmurError
    where the bundle in a folder cannot be what this node trains.
    """

    inner: Transport
    me: NodeId
    fleet: str
    here: Path
    bundle: Path
    kept: tuple[Path, ...]
    authority: Path | None
    trial: Callable[[Path], None]
    row: dict[str, float] = field(default_factory=dict)
    parts: Parts = field(default_factory=Parts)
    outcome: str = ""

    def __post_init__(self) -> None:
        self.traffic = self.inner.traffic
        if _about(self.bundle):
            self.outcome = f"installed {_about(self.bundle).get('name', '')}"
            self._report()  # somebody waits for it

    def send(self, receiver: NodeId, kind: str, payload: bytes) -> None:
        """See `Transport.send`."""
        self.inner.send(receiver, kind, payload)

    def receive(self) -> list[Delivery]:
        """See `Transport.receive`. Raises NewBundleError once one is installed."""
        found = self.inner.receive()
        for delivery in found:
            if delivery.sender == OPERATOR:
                self._asked(delivery)
        return [delivery for delivery in found if delivery.sender != OPERATOR]

    def wait(self, seconds: float) -> bool:
        """See `Transport.wait`."""
        return self.inner.wait(seconds)

    def report(self, row: Mapping[str, float]) -> None:
        """See `Transport.report`."""
        self.row = dict(row)
        self.inner.report(row)

    def close(self) -> None:
        """See `Transport.close`."""
        self.inner.close()

    def _asked(self, delivery: Delivery) -> None:
        try:
            if delivery.kind == "ask":
                self._answer(delivery.payload)
            elif delivery.kind == "rollout" and (package := self.parts.take(delivery.payload)) is not None:
                self._install(package)
        except (MessageError, MurmurError, OSError, ValueError, EOFError, tarfile.TarError) as reason:
            self.outcome = f"refused: {' '.join(str(reason).split())}"
            _log.warning("operator: %s", self.outcome)
            self._report()

    def _answer(self, payload: bytes) -> None:
        try:
            want = json.loads(payload)["want"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise MessageError('expected {"want": "report"} or {"want": "files"}') from None
        if want == "files":
            for part in cut(_packed(self.kept)):
                self.inner.send(OPERATOR, "files", part)
        else:
            self._report()

    def _report(self) -> None:
        said: dict[str, str | float] = {
            "device": self.me,
            "bundle": fingerprint(self.bundle),
            "outcome": self.outcome,
            **_image(),
            **health.read(self.here),
            **{key: self.row[key] for key in ("round", "loss", "accuracy_all", "timeouts") if key in self.row},
        }
        self.inner.send(OPERATOR, "report", json.dumps(said).encode())

    def _install(self, package: bytes) -> None:
        """Raises NewBundleError if it is done; else why it is not."""
        if self.authority is None:
            raise MessageError("a rollout needs [tls] in node.toml: its authority is who signs")
        if self.here not in self.bundle.resolve().parents:
            raise MessageError(f"the bundle ({self.bundle}) is not in the node's own folder")
        new = self.bundle.with_name(f"{self.bundle.name}.new")
        atomic.remove(new)
        try:
            self._tried(package, self.authority, new)
        finally:
            atomic.remove(new)

    def _tried(self, package: bytes, authority: Path, new: Path) -> None:
        """Unpack into `new`, and make it ready if all is well with it."""
        with tarfile.open(fileobj=io.BytesIO(opened(package, authority, self.here))) as archive:
            atomic.unpack(archive, new, LARGEST)
        about = _about(new / "bundle", new)
        if about.get("fleet") != self.fleet:
            raise MessageError(f"a package for {about.get('fleet', 'no fleet')}, this is {self.fleet}")
        if _made(about) < max(1, _made(_about(self.bundle))):
            raise MessageError(f"{about.get('name')} is older than what is installed; make the package again")
        if fingerprint(new / "bundle") == fingerprint(self.bundle):
            self.outcome = f"installed {about.get('name', '')}"
            self._report()
            return
        self.trial(new / "bundle")
        (new / ABOUT).replace(new / "bundle" / ABOUT)
        os.sync()
        (new / "bundle").replace(ready(self.bundle))
        raise NewBundleError(about.get("name", ""))


def finish(bundle: Path, checkpoint: Path | None) -> None:
    """What an installation has made ready takes the bundle's place, at a start; the old one stays beside it.

    Done over and over, until nothing is left to do, it comes to the same: a power cut may come at any moment.
    """
    if not ready(bundle).is_dir():
        return
    if checkpoint is not None:
        checkpoint_files.set_aside(checkpoint)  # a checkpoint is of one model
    if bundle.is_dir():
        before = bundle.with_name(f"{bundle.name}.before")
        atomic.remove(before)
        bundle.rename(before)
    ready(bundle).rename(bundle)


def ready(bundle: Path) -> Path:
    """Where an installation leaves what the next start takes."""
    return bundle.with_name(f"{bundle.name}.ready")


def fingerprint(bundle: Path) -> str:
    """Of a bundle: of its manifest, which has the digests of all the rest."""
    try:
        return hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()[:12]
    except OSError:
        return ""


def opened(package: bytes, authority: Path, scratch: Path) -> bytes:
    """What is in a package, if somebody signed it whom the authority certified for that. Raises MessageError."""
    aside = scratch / ".package"
    try:
        aside.write_bytes(package)
        command = [
            "openssl",
            "cms",
            "-verify",
            "-binary",
            "-inform",
            "DER",
            "-CAfile",
            str(authority),
            "-in",
            str(aside),
        ]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as reason:
        raise MessageError(f"the signature cannot be verified: {reason}") from None
    finally:
        aside.unlink(missing_ok=True)
    if done.returncode:
        raise MessageError(f"not signed for this fleet: {last_line(done.stderr.decode(errors='replace'))}")
    return done.stdout


def _about(bundle: Path, folder: Path | None = None) -> dict[str, object]:
    try:
        found = json.loads(((folder or bundle) / ABOUT).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _made(about: Mapping[str, object]) -> int:
    """Seconds since 1970, by the operator's clock; 0 if it is not said."""
    made = about.get("made")
    return made if isinstance(made, int) else 0


def _image(root: Path = Path("/")) -> dict[str, str]:
    """Board and version of the image that this runs on, if it is one of ours."""
    try:
        about = json.loads((root / "etc/murmur/image.json").read_text())
        return {"board": str(about["board"]), "image": str(about["version"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _packed(paths: tuple[Path, ...]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path in paths:
            if path.is_file():
                archive.add(path, path.name)
    return out.getvalue()
