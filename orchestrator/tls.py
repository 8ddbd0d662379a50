"""Keys and certificates of TLS. Devices know the keys by their pins, so that no authority has to sign for them."""

import datetime
import hashlib
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestrator.errors import OrchestratorError
from orchestrator.files import write_whole

__all__ = ["make_certificate", "make_key", "pin_of", "server_context"]

_DAYS = 3650


def make_key(path: Path) -> None:
    """Write a new ECDSA key (P-256) to a file that its owner alone can read."""
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    data = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    write_whole(path, data)


def make_certificate(path: Path, key: Path, host: str) -> None:
    """Write a certificate of a key for a host, signed by itself."""
    private = _load(key)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    now = datetime.datetime.now(datetime.UTC)
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    write_whole(path, certificate.public_bytes(serialization.Encoding.PEM))


def pin_of(key: Path) -> bytes:
    """SHA-256 of a key's public half (RFC 7469's SPKI pin); 32 bytes."""
    spki = (
        _load(key)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return hashlib.sha256(spki).digest()


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a server speaks: TLS 1.3, and nothing older."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise OrchestratorError(
            f"{certificate} and {key} can't be used: {error}.", hint="`claw-orchestrator init` makes a pair."
        ) from None
    return context


def _load(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError) as error:
        raise OrchestratorError(f"{path} can't be read: {error}.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise OrchestratorError(f"{path} is a key of another kind.", hint="ECDSA keys are used here.")
    return key
