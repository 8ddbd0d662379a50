"""Whose key must be at the other end: pins of a destination's public key, checked inside the TLS handshake.

A pin is the SHA-256 of the certificate's SubjectPublicKeyInfo (as in RFC 7469, section 2.4). A pinned destination,
such as a federation's own orchestrator with a certificate that it signed itself, is believed for its pin, and not
because some public authority signed for it: nobody else's signature could add anything, and any authority's could
take it away. Beside the pin its certificate must be valid today and name the host that was asked for (RFC 9525).
That the other end holds the pinned key is proven by the handshake itself (RFC 8446, section 4.4.3).

The check is made when the handshake ends, in both of the classes through which Python speaks TLS (blocking sockets,
and the objects that asynchronous code feeds), so no byte of a request has left when it fails.
"""

import base64
import binascii
import datetime
import hashlib
import ipaddress
import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vault.errors import EgressRefused

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["MAX_PINS", "Pin", "PinRefused", "check_certificate", "pin_context"]

MAX_PINS = 2
"""The key in use, and the one that comes after it."""

_DIGEST_BYTES = 32
_PREFIX = re.compile(r"^(pin-)?sha256(//|[/:=])?", re.IGNORECASE)


class PinRefused(ssl.SSLError):
    """The other end of a handshake isn't the pinned destination.

    Attributes:
        why: What is wrong, as the rest of a sentence that begins with the host.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Pin:
    """The SHA-256 of a SubjectPublicKeyInfo."""

    digest: bytes

    def __post_init__(self) -> None:
        if len(self.digest) != _DIGEST_BYTES:
            raise ValueError(f"a pin has {_DIGEST_BYTES} bytes, not {len(self.digest)}")

    @classmethod
    def parse(cls, text: str) -> "Pin":
        """Read a pin as people write it: base64 or hexadecimal, with or without `sha256/` before it.

        Raises:
            EgressRefused: it is no pin.
        """
        bare = _PREFIX.sub("", text.strip())
        try:
            if re.fullmatch(r"[0-9a-fA-F]{64}", bare, re.ASCII):
                return cls(bytes.fromhex(bare))
            return cls(base64.b64decode(bare.encode("ascii"), validate=True))
        except (ValueError, binascii.Error):
            raise EgressRefused(
                "This is no pin of a destination's key.",
                hint="A pin is a SHA-256: 44 characters of base64, or 64 hexadecimal digits.",
            ) from None

    @classmethod
    def of(cls, certificate: bytes) -> "Pin":
        """The pin of the key in a certificate (DER).

        Raises:
            PinRefused: it can't be read.
        """
        return cls(_key_digest(_parsed(certificate)))

    def __str__(self) -> str:
        return base64.b64encode(self.digest).decode("ascii")


def check_certificate(
    certificate: bytes, host: str, pins: tuple[Pin, ...], now: datetime.datetime | None = None
) -> None:
    """Check the certificate of a pinned destination.

    Args:
        certificate: DER, as the other end sent it.
        host: The name or address that was asked for.
        pins: Of the keys that are accepted.
        now: The time; today's when not given.

    Raises:
        PinRefused: another key, another host, not valid now, or no certificate that can be read.
    """
    parsed = _parsed(certificate)
    digest = _key_digest(parsed)
    if digest not in [pin.digest for pin in pins]:
        raise PinRefused("shows another key than the pinned one")
    now = now or datetime.datetime.now(datetime.UTC)
    if now < parsed.not_valid_before_utc:
        raise PinRefused("shows a certificate that isn't valid yet")
    if now > parsed.not_valid_after_utc:
        raise PinRefused("shows a certificate that has expired")
    if not _names(parsed, host):
        raise PinRefused("shows a certificate for another host")


def pin_context(context: ssl.SSLContext, pins: tuple[Pin, ...]) -> None:
    """Make a client's TLS settings accept pinned keys, and nothing else."""
    context.check_hostname = False  # done by our own check: OpenSSL's needs an authority
    context.verify_mode = ssl.CERT_NONE

    class PinnedSocket(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            _check_peer(self, pins)

    class PinnedObject(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            _check_peer(self, pins)

    context.sslsocket_class = PinnedSocket
    context.sslobject_class = PinnedObject


def _check_peer(connection: ssl.SSLSocket | ssl.SSLObject, pins: tuple[Pin, ...]) -> None:
    certificate = connection.getpeercert(binary_form=True)
    host: Any = connection.server_hostname
    if not certificate or not host:
        raise PinRefused("shows no certificate")
    check_certificate(certificate, host, pins)


def _parsed(certificate: bytes) -> "Certificate":
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(certificate)
    except (ValueError, TypeError, x509.InvalidVersion):
        raise PinRefused("shows a certificate that can't be read") from None


def _key_digest(certificate: "Certificate") -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise PinRefused("shows a key that can't be read") from None
    return hashlib.sha256(key).digest()


def _names(certificate: "Certificate", host: str) -> bool:
    """Whether a certificate names a host: among its alternative names alone, never its common name (RFC 9525)."""
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (
        ValueError,
        TypeError,
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ):
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return any(_same_name(name, host) for name in names.get_values_for_type(x509.DNSName))
    return address in names.get_values_for_type(x509.IPAddress)


def _same_name(presented: str, host: str) -> bool:
    presented, host = presented.lower().rstrip("."), host.lower().rstrip(".")
    if presented.startswith("*."):  # stands for exactly one label, the first (RFC 9525, section 6.3)
        first, _, rest = host.partition(".")
        return bool(first) and rest == presented[2:] and "." in rest
    return presented == host
