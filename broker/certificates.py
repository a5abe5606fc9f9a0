"""Keys and certificates of a fleet: an authority of its own, P-256 throughout. Private keys are files of mode 0600.

Names are in the common name, as Mosquitto reads them (use_identity_as_username). A device's certificate is good for
being a client only, the server's for being a server only.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.errors import ConfigError
from edge.messaging import topics
from edge.storage import atomic

SKEW = timedelta(days=1)
"""how far back a certificate is already valid: boards without a battery wake up in the past"""
CRL_LIFE = timedelta(days=3650)
"""a broker refuses everybody once its revocation list is out of date, so this one hardly ever is"""


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def write(self, stem: Path) -> None:
        """Write STEM.crt, and STEM.key that only its owner can read. Raises FileExistsError: a key is there."""
        private = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        atomic.write_private(stem.with_name(stem.name + ".key"), private)
        stem.with_name(stem.name + ".crt").write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))


def read(stem: Path) -> Pair:
    """Read what `Pair.write` wrote. Raises ConfigError: a file is missing, or is something else."""
    crt, key = stem.with_name(stem.name + ".crt"), stem.with_name(stem.name + ".key")
    try:
        certificate = x509.load_pem_x509_certificate(crt.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), None)
    except OSError as reason:
        raise ConfigError(f"cannot read {reason.filename}: {reason.strerror}") from None
    except (ValueError, TypeError) as reason:
        raise ConfigError(f"{crt} and {key} are not a certificate and its unencrypted key: {reason}") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{key}: expected an elliptic-curve key, as edge-broker init makes them")
    return Pair(certificate, private)


def authority(name: str, days: int) -> Pair:
    """Return a new certificate authority.

    Args:
        name: of the fleet.
        days: how long it is valid.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(f"{name} authority")
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = _certificate(subject, subject, key, _now() - SKEW, _now() + timedelta(days=days))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True).add_extension(identifier, critical=False)
    return Pair(builder.sign(key, hashes.SHA256()), key)


def device(issuer: Pair, name: str, days: int, *, until: datetime | None = None) -> Pair:
    """Return a certificate of a client.

    Args:
        issuer: the authority.
        name: of the client.
        days: how long it is valid.
        until: when it ends, instead.

    Raises:
        ConfigError: the name is no name of a device.
    """
    topics.name(name, "device")
    return _issued(issuer, name, until or _now() + timedelta(days=days), [ExtendedKeyUsageOID.CLIENT_AUTH], ())


def server(issuer: Pair, hosts: Sequence[str], days: int) -> Pair:
    """Return a certificate of a broker that is reached as `hosts`, which are names or addresses."""
    return _issued(issuer, hosts[0], _now() + timedelta(days=days), [ExtendedKeyUsageOID.SERVER_AUTH], hosts)


def signer(issuer: Pair, name: str, days: int) -> Pair:
    """Return a certificate for signing what devices install: neither a client's nor a server's.

    RAUC asks for the purpose code signing, OpenSSL's `cms` for e-mail protection.
    """
    purposes = [ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.EMAIL_PROTECTION]
    return _issued(issuer, name, _now() + timedelta(days=days), purposes, ())


def revocations(issuer: Pair, before: x509.CertificateRevocationList | None, more: Sequence[int]) -> bytes:
    """Return a revocation list (PEM) with the entries of the list before it, and more serial numbers."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.certificate.subject)
    # Not when it was made: a board that has slept without a clock would take that for the future, and no rollout.
    builder = builder.last_update(issuer.certificate.not_valid_before_utc).next_update(_now() + CRL_LIFE)
    for entry in before or ():
        builder = builder.add_revoked_certificate(entry)
    for serial in more:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_now())
        builder = builder.add_revoked_certificate(revoked.build())
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _issued(
    issuer: Pair, name: str, until: datetime, purposes: Sequence[x509.ObjectIdentifier], hosts: Sequence[str]
) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    since = min(_now(), until) - SKEW
    builder = _certificate(_name(name), issuer.certificate.subject, key, since, until)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=True)
    known = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    builder = builder.add_extension(known, critical=False)
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(h) for h in hosts]), critical=False)
    return Pair(builder.sign(issuer.key, hashes.SHA256()), key)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, since: datetime, until: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return builder.serial_number(x509.random_serial_number()).not_valid_before(since).not_valid_after(until)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
