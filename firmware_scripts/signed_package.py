"""A model for devices in the field, packed and signed (`edge.operations.rollout` reads it)."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs7

from broker import certificates
from broker.fleet import Fleet, next_number
from edge import bundle as bundles
from edge.errors import ConfigError
from edge.operations.rollout import ROLLOUT_FILE, fingerprint
from edge.storage import archive, digests

DAYS = 7
"""for which devices take a package"""


@dataclass(frozen=True)
class Package:
    """content: for the devices; fingerprint: of the bundle in it (`edge.operations.rollout`)."""

    content: bytes
    fingerprint: str


def make(folder: Path, fleet: Fleet, devices: Sequence[str], days: int) -> Package:
    """Pack and sign a bundle under the fleet's next number.

    Args:
        folder: of the bundle.
        fleet: whose signer signs.
        devices: which may take it.
        days: after which nobody takes it any more.

    Raises:
        BundleError: the folder is no bundle.
        ConfigError: the fleet's folder has no signer, or its certificate ends before the package does.
    """
    if days < 1:
        raise ConfigError(f"--days {days}: expected 1 or more")
    bundles.read(folder)
    expires = int(time.time()) + days * 86400
    content = build(folder, fleet, folder.resolve().name, next_number(fleet), devices, expires)
    return Package(content, fingerprint(folder))


def build(folder: Path, fleet: Fleet, name: str, number: int, devices: Sequence[str], expires: int) -> bytes:
    """Pack and sign a bundle for devices of a fleet.

    Args:
        folder: of the bundle.
        fleet: whose signer signs.
        name: of the rollout.
        number: of the package (`broker.fleet.next_number`); devices refuse any that is not above their last one.
        devices: which may take it.
        expires: seconds since 1970, after which nobody takes it any more.

    Returns:
        A CMS message (DER), as `edge.operations.rollout` reads it.

    Raises:
        BundleError: the folder is no bundle.
        ConfigError: the fleet's folder has no signer, or its certificate ends before the package does.
    """
    bundle = bundles.read(folder)
    signer = certificates.read(fleet.folder / "signer")
    if expires > signer.certificate.not_valid_after_utc.timestamp():
        raise ConfigError(
            "the signer's certificate ends before the package does: use fewer --days, or edge-broker renew-signer"
        )
    about = {
        "fleet": fleet.name,
        "name": name,
        "made": number,
        "expires": expires,
        "devices": list(devices),
        "bundle": digests.sha256(folder / bundles.MANIFEST),
    }
    files = {bundles.MANIFEST, *bundle.manifest.digests}
    content: dict[str, Path | bytes] = {
        ROLLOUT_FILE: json.dumps(about).encode(),
        "revoked.pem": fleet.revoked.read_bytes(),
        **{f"bundle/{file}": folder / file for file in sorted(files)},
    }
    return sign(archive.pack(content), signer)


def sign(content: bytes, pair: certificates.Pair) -> bytes:
    """Return a CMS message (DER) around a content, signed."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
    signed = builder.add_signer(pair.certificate, pair.key, hashes.SHA256())
    return signed.sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])
