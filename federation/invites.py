"""Invites: what a person is given to join a federation, and how their device shows that it was.

An invite has a secret that its registrar knows and the orchestrator doesn't. A device proves to the registrar that
it has it, for its own identity alone: the orchestrator, which carries the proof, can neither use it for an identity
of its own nor make up others.
"""

import base64
import binascii
import hmac
from typing import Annotated

import msgspec

from federation.digests import digest, labelled
from federation.errors import Malformed
from federation.messages import Digest, Key, Message, decode, encode
from federation.task import Name

__all__ = ["PREFIX", "Invite", "federation_digest", "proof_of"]

PREFIX = "claw-join:"
_MOST_BYTES = 2048
_PIN_BYTES = 32
_Pin = Annotated[bytes, msgspec.Meta(min_length=_PIN_BYTES, max_length=_PIN_BYTES)]
_Address = Annotated[str, msgspec.Meta(min_length=9, max_length=300, pattern=r"^https://[^\s/?#@]+\Z")]


class Invite(Message, frozen=True, array_like=True, tag="invite"):
    """What a device needs to join.

    Attributes:
        name: Of the federation, for a person.
        address: Of the orchestrator: `https://HOST` or `https://HOST:PORT`.
        pins: SHA-256 of the public keys that it may have: the present one, and a spare.
        registrar: The key that vouches for devices.
        log: The key that signs the log of releases.
        secret: Of the invite.
        tasks: The tasks that it is for.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    address: _Address
    pins: Annotated[tuple[_Pin, ...], msgspec.Meta(min_length=1, max_length=2)]
    registrar: Key
    log: Key
    secret: Digest
    tasks: Annotated[tuple[Name, ...], msgspec.Meta(max_length=16)] = ()

    def __str__(self) -> str:
        return PREFIX + base64.urlsafe_b64encode(encode(self)).rstrip(b"=").decode()

    @classmethod
    def parse(cls, text: str) -> "Invite":
        """Read what `str()` made.

        Raises:
            Malformed: it is no invite.
        """
        text = text.strip()
        coded = text.removeprefix(PREFIX)
        if coded == text or len(coded) > 2 * _MOST_BYTES or not coded.isascii():
            raise Malformed(f"That is no invite: one begins with {PREFIX}.")
        try:
            data = base64.b64decode(coded + "=" * (-len(coded) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise Malformed("That invite was cut, or copied wrongly.") from None
        return decode(data, cls, _MOST_BYTES)

    @property
    def id(self) -> bytes:
        """What the orchestrator knows it by; 32 bytes."""
        return digest("invite", self.secret)

    @property
    def federation(self) -> bytes:
        """What stands for the federation; 32 bytes."""
        return federation_digest(self.registrar, self.log)


def federation_digest(registrar: bytes, log: bytes) -> bytes:
    """What stands for a federation in everything that is signed: the two keys that make it what it is."""
    return digest("federation", registrar, log)


def proof_of(secret: bytes, federation: bytes, device: bytes) -> bytes:
    """A device's proof that it has an invite's secret: good for this federation and this device alone; 32 bytes."""
    return hmac.digest(secret, labelled("join", federation, device), "sha256")
