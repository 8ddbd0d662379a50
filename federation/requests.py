"""Requests that a device signs: HTTP Message Signatures (RFC 9421) with its Ed25519 identity, over a body's digest.

Covered are method, path, query, the digest of the body (RFC 9530) and a counter that grows with each request of a
device; the signature says when it was made, until when it holds, and has a nonce. Who verifies keeps the counter:
with it no request is taken twice, and none older than the last.
"""

import base64
import datetime
import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from http_message_signatures import (
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    algorithms,
)
from http_message_signatures.exceptions import HTTPMessageSignaturesException

from federation.digests import has_holder
from federation.errors import Refused
from federation.stream import Random

__all__ = [
    "COUNTER",
    "DIGEST",
    "HOLDS_S",
    "Signed",
    "content_digest",
    "digest_in",
    "sign_request",
    "verify_request",
]

COUNTER = "Claw-Counter"
DIGEST = "Content-Digest"
HOLDS_S = 60
"""Seconds that a signature holds."""
_SKEW_S = 30
"""Seconds by which the clocks of a device and a server may differ."""
_COVERED = ("@method", "@path", "@query", "content-digest", "claw-counter")
_TAG = "openclaw-core-1"
_LABEL = "claw"
_NONCE_BYTES = 16
_MOST_HEADER = 1024
_KEY = re.compile("[0-9a-f]{64}")
_COUNT = re.compile("[1-9][0-9]{0,15}")
_NONCE = re.compile("[A-Za-z0-9_-]{22}")
_BODY = re.compile("sha-256=:([A-Za-z0-9+/]{43}=):")
_PLAIN_METHOD = re.compile("[A-Z]+")
_PLAIN_PATH = re.compile("(?:/[A-Za-z0-9_-]+)+")
_PLAIN_INPUT = re.compile(
    r'claw=(\("@method" "@path" "@query" "content-digest" "claw-counter"\)'
    r';created=(0|[1-9][0-9]{0,11});keyid="([0-9a-f]{64})";alg="ed25519";expires=(0|[1-9][0-9]{0,11})'
    r';nonce="[A-Za-z0-9_-]{22}";tag="openclaw-core-1")'
)
_PLAIN_SIGNATURE = re.compile("claw=:([A-Za-z0-9+/]{86}==):")


class Signed(NamedTuple):
    """What a signature says.

    Attributes:
        device: Who signed, an Ed25519 public key of 32 bytes.
        counter: Of the request.
    """

    device: bytes
    counter: int


class _Request(NamedTuple):
    """A request as the library looks at one."""

    method: str
    url: str
    headers: dict[str, str]


class _Keys(HTTPSignatureKeyResolver):
    """The key of a signer, or of whoever a signature names: an identity is its public key."""

    def __init__(self, private: Ed25519PrivateKey | None = None) -> None:
        self._private = private

    def resolve_private_key(self, key_id: str) -> Ed25519PrivateKey:  # noqa: ARG002
        assert self._private is not None
        return self._private

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
        if not _KEY.fullmatch(key_id) or not has_holder(bytes.fromhex(key_id)):
            raise Refused("The request is signed by no device's key.")
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(key_id))


class _Verifier(HTTPMessageVerifier):
    """Leaves the times to us: it is told what time it is, and doesn't look."""

    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:  # noqa: ANN401
        """Nothing: `verify_request` looks at them."""


def content_digest(body_sha256: bytes) -> str:
    """The value of the header `Content-Digest` for a body of this SHA-256."""
    return f"sha-256=:{base64.b64encode(body_sha256).decode()}:"


def digest_in(header: str) -> bytes:
    """The SHA-256 in a `Content-Digest`; of the body that is still to come, perhaps.

    Raises:
        Refused: there is none, or another kind of digest.
    """
    found = _BODY.fullmatch(header)
    if found is None:
        raise Refused("The request doesn't say which body was signed.")
    return base64.b64decode(found[1])


def sign_request(
    identity: Ed25519PrivateKey, method: str, target: str, body: bytes, counter: int, now: float, random: Random
) -> dict[str, str]:
    """The headers that sign a request.

    Args:
        identity: The device's.
        method: Such as `POST`.
        target: Path and query.
        body: What is sent; empty for nothing.
        counter: Larger than in any request before.
        now: Seconds since 1970.
        random: Gives unforeseeable bytes.
    """
    request = _Request(
        method,
        _url(target),
        {DIGEST: content_digest(hashlib.sha256(body).digest()), COUNTER: str(counter)},
    )
    created = datetime.datetime.fromtimestamp(int(now), datetime.UTC)
    HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=_Keys(identity)).sign(
        request,
        key_id=identity.public_key().public_bytes_raw().hex(),
        created=created,
        expires=created + datetime.timedelta(seconds=HOLDS_S),
        nonce=base64.urlsafe_b64encode(random(_NONCE_BYTES)).rstrip(b"=").decode(),
        label=_LABEL,
        tag=_TAG,
        covered_component_ids=_COVERED,
        use_existing_digest=True,
    )
    return request.headers


def verify_request(method: str, target: str, headers: Mapping[str, str], body_sha256: bytes, now: float) -> Signed:
    """Who signed a request.

    Args:
        method: Such as `POST`.
        target: Path and query, as they came.
        headers: By their names in lower case.
        body_sha256: Of the body that came.
        now: Seconds since 1970.

    Raises:
        Refused: nobody signed just that, or not now.
    """
    names = ("signature-input", "signature", DIGEST.lower(), COUNTER.lower())
    given = {name: headers.get(name, "") for name in names}
    if any(not value or len(value) > _MOST_HEADER for value in given.values()):
        raise Refused("The request isn't signed.")
    if given[DIGEST.lower()] != content_digest(body_sha256):
        raise Refused("The request's body isn't the one that was signed.")
    if not _COUNT.fullmatch(given[COUNTER.lower()]):
        raise Refused("The request has no counter.")
    if (plain := _plain(method, target, given, now)) is not None:
        return plain
    verifier = _Verifier(signature_algorithm=algorithms.ED25519, key_resolver=_Keys())
    try:
        (found,) = verifier.verify(_Request(method, _url(target), given), expect_tag=_TAG)
    except (HTTPMessageSignaturesException, ValueError, KeyError, TypeError, RecursionError):
        raise Refused("The request's signature is false.") from None
    if list(found.covered_components) != [f'"{name}"' for name in (*_COVERED, "@signature-params")]:
        raise Refused("The request's signature covers something else.")
    _check_times(found.parameters.get("created"), found.parameters.get("expires"), now)
    if not _NONCE.fullmatch(str(found.parameters.get("nonce", ""))):
        raise Refused("The request's signature has no nonce.")
    return Signed(bytes.fromhex(str(found.parameters["keyid"])), int(given[COUNTER.lower()]))


def _plain(method: str, target: str, given: Mapping[str, str], now: float) -> Signed | None:
    """Who signed a request in the very form that `sign_request` gives it; `None` leaves it to the library.

    RFC 9421, section 2.5, for that one form: nothing in it is to be parsed or brought into another form. It takes
    a quarter of the library's time, and an orchestrator does little else as often.
    """
    found, value = _PLAIN_INPUT.fullmatch(given["signature-input"]), _PLAIN_SIGNATURE.fullmatch(given["signature"])
    if found is None or value is None:
        return None
    if not _PLAIN_METHOD.fullmatch(method) or not _PLAIN_PATH.fullmatch(target):
        return None
    device = bytes.fromhex(found[3])
    base = (
        f'"@method": {method}\n"@path": {target}\n"@query": ?\n"content-digest": {given[DIGEST.lower()]}\n'
        f'"claw-counter": {given[COUNTER.lower()]}\n"@signature-params": {found[1]}'
    )
    try:
        _Keys().resolve_public_key(found[3]).verify(base64.b64decode(value[1]), base.encode("ascii"))
    except (InvalidSignature, ValueError):
        raise Refused("The request's signature is false.") from None
    _check_times(int(found[2]), int(found[4]), now)
    return Signed(device, int(given[COUNTER.lower()]))


def _check_times(created: object, expires: object, now: float) -> None:
    if type(created) is not int or type(expires) is not int or not 0 <= expires - created <= HOLDS_S:
        raise Refused("The request's signature doesn't say until when it holds.")
    if not created - _SKEW_S <= now <= expires + _SKEW_S:
        raise Refused("The request was signed at another time; see that the clock is right.")


def _url(target: str) -> str:
    """The host isn't covered: TLS says which it is, and a proxy may give it another name."""
    return f"https://orchestrator{target}"
