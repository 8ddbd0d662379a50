"""Messages of the federation: msgspec structs as msgpack arrays, each with one encoding.

Sizes are bounded before anything is decoded, by the frame, and while it is, by the types. What decodes but
isn't encoded as we would is refused: a signature or a digest over a message then covers its meaning, not a
spelling of it.
"""

from typing import Annotated, TypeVar

import msgspec

from federation.digests import DIGEST_BYTES, KEY_BYTES, SIGNATURE_BYTES
from federation.errors import Malformed

__all__ = ["PROTOCOL", "Digest", "Key", "Message", "Signature", "decode", "encode"]

PROTOCOL = 1
"""Version of the protocol; each message carries it, and no other is understood."""

Digest = Annotated[bytes, msgspec.Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
Key = Annotated[bytes, msgspec.Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
Signature = Annotated[bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]

_encoder = msgspec.msgpack.Encoder()

Kind = TypeVar("Kind", bound="Message")


class Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=False):
    """A message: an array of its name and its fields."""


def encode(message: Message) -> bytes:
    """The one encoding of a message, with the protocol's version before it."""
    return bytes([PROTOCOL]) + _encoder.encode(message)


def decode(data: bytes, kind: type[Kind], most: int) -> Kind:
    """Read a message.

    Args:
        data: From somebody who isn't to be trusted.
        kind: What it has to be.
        most: Bytes that it may have.

    Raises:
        Malformed: it is longer, of another version or kind, out of its bounds, or isn't encoded as it is here.
    """
    if len(data) > most:
        raise Malformed(f"A message of {len(data):,} bytes came; {most:,} are the most.")
    if data[:1] != bytes([PROTOCOL]):
        raise Malformed("A message is of another version of the protocol.")
    try:
        message = msgspec.msgpack.decode(memoryview(data)[1:], type=kind)
        same = encode(message) == data
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Malformed(f"That is no {kind.__name__}: {type(error).__name__}.") from None
    if not same:
        raise Malformed(f"That is no {kind.__name__} as it is encoded here.")
    return message
