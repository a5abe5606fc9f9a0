"""Who signed a package: CMS messages (RFC 5652), verified by `openssl` against the fleet's authority and nothing else.

`openssl cms -verify -CAfile` alone also trusts the machine's own certificate store, by which any public S/MIME
certificate would sign for any fleet. So the store is switched off, the signer must have both purposes of
`edge-broker init`'s signer, and it must not be on the newest revocation list that this device knows.
"""

import ssl
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edge.command import last_line
from edge.errors import MessageError

VERIFY_SECONDS = 60
"""Seconds for which openssl may verify the largest package on a slow board."""
PURPOSES = ("Code Signing", "E-mail Protection")
"""extended key usages of a signer, as openssl prints them; no device's certificate has them"""


@dataclass(frozen=True)
class Signed:
    """What was signed, and by whom. serial: of the signer's certificate; until: its end, in seconds since 1970."""

    content: bytes
    serial: int
    until: float


def verified(package: bytes, authority: Path, revoked: bytes, scratch: Path) -> Signed:
    """Return the content of a package that the fleet's signer signed.

    Args:
        package: CMS, DER.
        authority: the certificate of the fleet's authority, PEM.
        revoked: the authority's revocation list, PEM; empty if none is known.
        scratch: a folder for temporary files.

    Raises:
        MessageError: anybody else has signed it, its signer is revoked, the list is not the authority's, or openssl is
            missing.
    """
    with tempfile.TemporaryDirectory(prefix=".package-", dir=scratch) as name:
        here = Path(name)
        (here / "package").write_bytes(package)
        (here / "trusted").write_bytes(authority.read_bytes() + b"\n" + revoked)
        trust = ["-CAfile", str(here / "trusted"), "-no-CApath", "-no-CAstore", "-purpose", "smimesign"]
        trust += ["-crl_check"] if revoked else []
        files = ["-in", str(here / "package"), "-signer", str(here / "signer")]
        content = _openssl("cms", "-verify", "-binary", "-inform", "DER", *trust, *files)
        return Signed(content, *_signer(here / "signer"))


def serials(revoked: bytes) -> set[int]:
    """The serial numbers on a revocation list. Raises MessageError."""
    if not revoked:
        return set()
    lines = _openssl("crl", "-noout", "-text", stdin=revoked).decode().splitlines()
    return {int(line.partition(":")[2], 16) for line in lines if line.strip().startswith("Serial Number:")}


def _signer(path: Path) -> tuple[int, float]:
    """Serial number and end of the one certificate in a file. Raises MessageError: it is not for signing."""
    text = path.read_text()
    if text.count("BEGIN CERTIFICATE") != 1:
        raise MessageError("not signed for this fleet: one signer was expected")
    options = ("-noout", "-serial", "-enddate", "-ext", "extendedKeyUsage")
    about = _openssl("x509", *options, stdin=text.encode()).decode()
    if missing := [purpose for purpose in PURPOSES if purpose not in about]:
        raise MessageError(f"not signed for this fleet: the certificate is not for {' and '.join(missing)}")
    lines = dict(line.split("=", 1) for line in about.splitlines() if "=" in line)
    return int(lines["serial"], 16), ssl.cert_time_to_seconds(lines["notAfter"])


def _openssl(*words: str, stdin: bytes = b"") -> bytes:
    try:
        process = subprocess.run(
            ["openssl", *words], input=stdin, capture_output=True, check=False, timeout=VERIFY_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as reason:
        raise MessageError(f"the signature cannot be verified: {reason}") from None
    if process.returncode:
        raise MessageError(f"not signed for this fleet: {last_line(process.stderr.decode(errors='replace'))}")
    return process.stdout
