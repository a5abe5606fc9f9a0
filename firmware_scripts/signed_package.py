"""A model for devices in the field, packed and signed (`edge.operations.rollout` reads it)."""

import json
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs7

from broker import certificates
from broker.fleet import Fleet
from edge import bundle as bundles
from edge.operations.rollout import ROLLOUT_FILE
from edge.storage import archive


def build(folder: Path, fleet: Fleet, name: str, seconds: int) -> bytes:
    """Pack and sign a bundle for a fleet's devices.

    Args:
        folder: of the bundle.
        fleet: whose signer signs.
        name: of the rollout.
        seconds: when it is made, since 1970; devices refuse what is older than what they have.

    Returns:
        A CMS message (DER), as `edge.operations.rollout` reads it.

    Raises:
        BundleError: the folder is no bundle.
        ConfigError: the fleet's folder has no signer.
    """
    bundles.read(folder)
    about = json.dumps({"fleet": fleet.name, "name": name, "made": seconds}).encode()
    content = archive.pack({ROLLOUT_FILE: about, "bundle": folder})
    return sign(content, certificates.read(fleet.folder / "signer"))


def sign(content: bytes, pair: certificates.Pair) -> bytes:
    """Return a CMS message (DER) around a content, signed."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
    signed = builder.add_signer(pair.certificate, pair.key, hashes.SHA256())
    return signed.sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])
