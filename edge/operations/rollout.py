"""Installing a model that an operator has rolled out: verified, tried, and put in place safely against power cuts.

A package is a CMS message (`edge.operations.signature`) around a tar archive: rollout.json, revoked.pem and the folder
bundle/. Only whoever holds a key that the fleet's authority certified for signing can make one, which the broker's
machine and the devices do not. What else is refused is the threat list of The Update Framework (docs/boards.md):

    rollback, replay     `made` must be above the counter in the node's folder, which no bundle can bring along
    freeze               a package that `expires` before it arrives
    fast-forward         dates after the end of the signer's certificate
    mix and match        a bundle whose manifest is not the announced one, or files that it does not list
    wrong recipient      another fleet, or a device that is not among `devices`
    a stolen key         a signer on the revocation list, which every package brings, and which only grows

A model is tried on this device before anything is replaced.

    bundle.new                a package being unpacked and tried; worth nothing after a power cut
    bundle.ready              what the next start puts in place (`finish`)
    bundle, bundle.before     the model that trains, and the one before it
    rollouts/counter.json     the newest package taken so far; a card from `edge-broker provision` brings one, too
    rollouts/revoked.pem      the newest revocation list
"""

import io
import json
import logging
import os
import tarfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from edge import bundle as bundles
from edge.errors import MessageError
from edge.messaging.chunked import LARGEST
from edge.operations import signature
from edge.operations.signature import Signed
from edge.storage import archive, atomic, checkpoint_files, digests

ROLLOUT_FILE = "rollout.json"
"""in a package, and beside the bundle that came with it"""
COUNTER, REVOKED = "rollouts/counter.json", "rollouts/revoked.pem"
"""in the node's folder, and in the archive on a card"""
CONTENT = {ROLLOUT_FILE, "revoked.pem", "bundle"}
"""of a package"""
_log = logging.getLogger(__name__)


class NewBundleError(Exception):
    """A bundle has been installed: the node begins anew with it. No fault of anybody's."""


@dataclass(frozen=True)
class RolloutInfo:
    """What rollout.json says.

    Attributes:
        fleet: whose devices it is for.
        name: for people.
        created: its number, which grows with every package: seconds since 1970 by the operator's clock, or one more
            than the package before; 0 if it does not say.
        expires: seconds since 1970, after which nobody takes it any more.
        devices: which of the fleet may take it.
        bundle: SHA-256 of the bundle's manifest, hexadecimal.
    """

    fleet: str = ""
    name: str = ""
    created: int = 0
    expires: int = 0
    devices: tuple[str, ...] = ()
    bundle: str = ""


def read_info(folder: Path) -> RolloutInfo | None:
    """The rollout.json in a folder; None if there is none, or it is not an object of JSON."""
    values = _object(folder / ROLLOUT_FILE)
    if not values:
        return None
    devices = values.get("devices")
    return RolloutInfo(
        str(values.get("fleet", "")),
        str(values.get("name", "")),
        _whole_number(values.get("made")),
        _whole_number(values.get("expires")),
        tuple(map(str, devices)) if isinstance(devices, list) else (),
        str(values.get("bundle", "")),
    )


@dataclass(frozen=True)
class Counter:
    """The newest package that a device has taken. made: its number; signer: serial number; bundle: see RolloutInfo."""

    made: int = 0
    signer: int = 0
    bundle: str = ""


def read_counter(folder: Path) -> Counter:
    """The counter in a node's folder; of one that has never taken anything, or a damaged one, all zeros."""
    values = _object(folder / COUNTER)
    return Counter(
        _whole_number(values.get("made")), _whole_number(values.get("signer")), str(values.get("bundle", ""))
    )


def write_counter(folder: Path, counter: Counter) -> None:
    """Write the counter of a node's folder. Raises OSError."""
    (folder / COUNTER).parent.mkdir(mode=0o700, exist_ok=True)
    atomic.write_text(folder / COUNTER, json.dumps(asdict(counter)))


@dataclass
class Installer:
    """Installs packages on one device.

    Args:
        fleet: the device's; packages for another one are refused.
        folder: the node's, in which its bundle has to be.
        bundle: the folder of the model.
        authority: certificate by which packages are verified; without one, none are taken.
        trial: raises MurmurError if this device cannot train the bundle in a folder.
        device: its name; packages for others are refused.
        clock: seconds since 1970.
    """

    fleet: str
    folder: Path
    bundle: Path
    authority: Path | None
    trial: Callable[[Path], None]
    device: str
    clock: Callable[[], float] = time.time

    def install(self, package: bytes) -> str:
        """Install a package.

        Returns:
            Its name, if its model is installed already.

        Raises:
            NewBundleError: it is ready; the node has to start again.
            MessageError, MurmurError, OSError, ValueError, EOFError, tarfile.TarError: it is refused, and nothing has
                changed.
        """
        if self.authority is None:
            raise MessageError("a rollout needs [tls] in node.toml: its authority is who signs")
        if self.folder not in self.bundle.resolve().parents:
            raise MessageError(f"the bundle ({self.bundle}) is not in the node's own folder")
        new = self.bundle.with_name(f"{self.bundle.name}.new")
        atomic.remove(new)
        try:
            return self._try(package, self.authority, new)
        finally:
            atomic.remove(new)

    def _try(self, package: bytes, authority: Path, new: Path) -> str:
        """Unpack into `new`, check, try, and leave the result where `finish` finds it."""
        revoked = _read(self.folder / REVOKED)
        signed = signature.verified(package, authority, revoked, self.folder)
        with tarfile.open(fileobj=io.BytesIO(signed.content)) as package_tar:
            archive.unpack(package_tar, new, LARGEST)
        newer = _read(new / "revoked.pem")
        if signature.serials(newer) > signature.serials(revoked):
            signed, revoked = signature.verified(package, authority, newer, self.folder), newer
        info = read_info(new) or RolloutInfo()
        self._check(info, signed, self._newest(revoked))
        _check_content(new, info)
        current = fingerprint(new / "bundle") == fingerprint(self.bundle)
        if not current:
            self.trial(new / "bundle")
        self._remember(Counter(info.created, signed.serial, info.bundle), revoked)
        if current:
            return info.name
        (new / ROLLOUT_FILE).replace(new / "bundle" / ROLLOUT_FILE)
        os.sync()
        (new / "bundle").replace(ready(self.bundle))
        _log.warning("the operator has installed %s: beginning anew with it", info.name)
        raise NewBundleError(info.name)

    def _newest(self, revoked: bytes) -> Counter:
        """What a package has to be newer than. Raises MessageError: the revocation list cannot be read."""
        counter = read_counter(self.folder)
        if counter.signer in signature.serials(revoked):
            return Counter()  # whoever stole that key may have counted up to its last day
        installed = read_info(self.bundle) or RolloutInfo()  # of a release that had no counter
        return counter if counter.made >= installed.created else Counter(installed.created)

    def _check(self, info: RolloutInfo, signed: Signed, newest: Counter) -> None:
        """Refuse what was not made for this device, or not for now. Raises MessageError."""
        if info.fleet != self.fleet:
            raise MessageError(f"a package for {info.fleet or 'no fleet'}, this is {self.fleet}")
        again = (info.created, info.bundle) == (newest.made, newest.bundle)
        if info.created < 1 or (info.created <= newest.made and not again):
            raise MessageError(f"{info.name} is older than what is installed; make the package again")
        if self.device not in info.devices:
            names = ", ".join(info.devices[:10]) or "no device"
            raise MessageError(f"{info.name} is for {names}, this is {self.device}")
        if max(info.created, info.expires) > signed.until:
            raise MessageError(f"{info.name} has dates after the end of its signer's certificate")
        if info.expires < self.clock():
            raise MessageError(f"{info.name} has expired; make the package again")

    def _remember(self, counter: Counter, revoked: bytes) -> None:
        """Raise the counter before the model is replaced: after a power cut the same package is still taken."""
        write_counter(self.folder, counter)
        if revoked:
            atomic.write_text(self.folder / REVOKED, revoked.decode())


def _check_content(new: Path, info: RolloutInfo) -> None:
    """Refuse a package that has something else in it than it says. Raises MessageError, BundleError."""
    bundle = bundles.read(new / "bundle")
    if digests.sha256(bundle.path / bundles.MANIFEST) != info.bundle:
        raise MessageError(f"{info.name} announces another bundle than it has")
    files = {str(path.relative_to(bundle.path)) for path in bundle.path.rglob("*") if path.is_file()}
    more = files - bundle.manifest.digests.keys() - {bundles.MANIFEST}
    if more := more | {path.name for path in new.iterdir()} - CONTENT:
        raise MessageError(f"{info.name} has files that belong to nothing: {', '.join(sorted(more)[:5])}")


def _object(path: Path) -> dict[str, object]:
    """The object of JSON in a file; an empty one if there is none."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _whole_number(value: object) -> int:
    return value if type(value) is int else 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def finish(bundle: Path, checkpoint: Path | None) -> None:
    """At a start, put in place what an installation has made ready; the old bundle stays beside it.

    A power cut may come at any moment: repeated until nothing is left to do, it comes to the same.
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
    """Where an installation leaves what the next start puts in place."""
    return bundle.with_name(f"{bundle.name}.ready")


def fingerprint(bundle: Path) -> str:
    """Twelve hexadecimal digits of the SHA-256 of a bundle's manifest, which has the digests of all other files.

    Returns:
        An empty string if there is no readable bundle.
    """
    try:
        return digests.sha256(bundle / "manifest.json")[:12]
    except OSError:
        return ""
