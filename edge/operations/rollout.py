"""Installing a model that an operator has rolled out: verified, tried, and put in place safely against power cuts.

A package is a CMS message (RFC 5652, as `openssl cms -sign` makes them) around a tar archive: rollout.json, saying for
which fleet, under which name and when it was made, and the folder bundle/. Only whoever holds a key that the fleet's
authority certified for signing can make one, which the broker's machine and the devices do not; older packages than the
installed one are refused. A model is tried on this device before anything is replaced.

    bundle.new      a package being unpacked and tried; worth nothing after a power cut
    bundle.ready    what the next start puts in place (`finish`)
    bundle          the model that trains
    bundle.before   the one before it
"""

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.command import last_line
from edge.errors import MessageError
from edge.messaging.chunked import LARGEST
from edge.storage import archive, atomic, checkpoint_files, digests

ROLLOUT_FILE = "rollout.json"
"""in a package, and beside the bundle that came with it"""
VERIFY_SECONDS = 60
"""Seconds for which openssl may verify a package of LARGEST bytes on a slow board."""


class NewBundleError(Exception):
    """A bundle has been installed: the node begins anew with it. No fault of anybody's."""


@dataclass(frozen=True)
class RolloutInfo:
    """What rollout.json says. created: seconds since 1970 by the operator's clock; 0 if it does not say."""

    fleet: str = ""
    name: str = ""
    created: int = 0


def read_info(folder: Path) -> RolloutInfo | None:
    """The rollout.json in a folder; None if there is none, or it is not an object of JSON."""
    try:
        values = json.loads((folder / ROLLOUT_FILE).read_text())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or not values:
        return None
    created = values.get("made")
    return RolloutInfo(
        str(values.get("fleet", "")), str(values.get("name", "")), created if isinstance(created, int) else 0
    )


@dataclass
class Installer:
    """Installs packages on one device.

    Args:
        fleet: the device's; packages for another one are refused.
        folder: the node's, in which its bundle has to be.
        bundle: the folder of the model.
        authority: certificate by which packages are verified; without one, none are taken.
        trial: raises MurmurError if the bundle in a folder cannot be what this node trains.
    """

    fleet: str
    folder: Path
    bundle: Path
    authority: Path | None
    trial: Callable[[Path], None]

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
        with tarfile.open(fileobj=io.BytesIO(verified(package, authority, self.folder))) as package_tar:
            archive.unpack(package_tar, new, LARGEST)
        info = read_info(new) or RolloutInfo()
        installed = read_info(self.bundle) or RolloutInfo()
        if info.fleet != self.fleet:
            raise MessageError(f"a package for {info.fleet or 'no fleet'}, this is {self.fleet}")
        if info.created < max(1, installed.created):
            raise MessageError(f"{info.name} is older than what is installed; make the package again")
        if fingerprint(new / "bundle") == fingerprint(self.bundle):
            return info.name
        self.trial(new / "bundle")
        (new / ROLLOUT_FILE).replace(new / "bundle" / ROLLOUT_FILE)
        os.sync()
        (new / "bundle").replace(ready(self.bundle))
        raise NewBundleError(info.name)


def verified(package: bytes, authority: Path, scratch: Path) -> bytes:
    """The content of a package that was signed with a key certified for it.

    Args:
        package: CMS, DER.
        authority: the certificate of the fleet's authority, PEM.
        scratch: a folder for one temporary file.

    Returns:
        The archive in it.

    Raises:
        MessageError: anybody else has signed it, or openssl is missing.
    """
    temporary = scratch / ".package"
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER"]
    command += ["-CAfile", str(authority), "-in", str(temporary)]
    try:
        temporary.write_bytes(package)
        process = subprocess.run(command, capture_output=True, check=False, timeout=VERIFY_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as reason:
        raise MessageError(f"the signature cannot be verified: {reason}") from None
    finally:
        temporary.unlink(missing_ok=True)
    if process.returncode:
        raise MessageError(f"not signed for this fleet: {last_line(process.stderr.decode(errors='replace'))}")
    return process.stdout


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
