"""Certificate authorities, and the server certificates that they issue."""

from __future__ import annotations

import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS, SERVER_DAYS = 3650, 397
RENEWED_BEFORE = datetime.timedelta(days=30)


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key in PEM format."""

    certificate: bytes
    key: bytes


def write_private(file: Path, content: bytes) -> None:
    """Write a file that only its owner can read, atomically."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)
    new.replace(file)


def issue(folder: Path, names: list[str]) -> None:
    """Ensure that the registry's `folder` has ca.crt and ca.key, and server.crt and server.key for exactly these names.

    The authority is created once, because machines trust it. The server certificate is renewed when its names change or
    30 days before it expires.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / "ca.crt").exists():
        _write(folder, "ca", issue_authority("mlplatform registry CA"))
    if renewal_is_due(folder) or not _has_names(folder / "server.crt", names):
        authority = KeyPair((folder / "ca.crt").read_bytes(), (folder / "ca.key").read_bytes())
        _write(folder, "server", issue_server(authority, "mlplatform registry", names))


def expiry(folder: Path) -> datetime.datetime | None:
    """Return the time at which the server certificate expires, None without a certificate."""
    file = folder / "server.crt"
    return x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc if file.exists() else None


def renewal_is_due(folder: Path) -> bool:
    """Return True if `issue` would renew the server certificate because of its age."""
    expires = expiry(folder)
    return expires is None or expires - datetime.datetime.now(datetime.UTC) <= RENEWED_BEFORE


def issue_authority(name: str) -> KeyPair:
    """Return a new certificate authority with this common name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _common_name(name)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    certificate = (
        _builder(subject, subject, key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def issue_server(authority: KeyPair, common_name: str, names: list[str]) -> KeyPair:
    """Return a new server certificate of the authority for these host names and addresses."""
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    authority_key = serialization.load_pem_private_key(authority.key, None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_common_name(common_name), issuer.subject, key.public_key(), SERVER_DAYS)
        .add_extension(x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def _write(folder: Path, name: str, pair: KeyPair) -> None:
    write_private(folder / f"{name}.key", pair.key)
    (folder / f"{name}.crt").write_bytes(pair.certificate)


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # Clocks of machines may be slow -> the certificate is valid from an hour ago.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _has_names(file: Path, names: list[str]) -> bool:
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    alternative_names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(alternative_names) == {_general_name(name) for name in names}


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
