"""How processes of ours speak: length-prefixed msgpack frames over a pipe.

A frame is a 4-byte big-endian length and that many bytes of one msgspec struct; tensors and tokens travel as
msgpack binary, unescaped. Decoders are typed: what isn't a message of the protocol is an error, never an object.
"""

import os
import struct
from typing import Generic, TypeVar

import msgspec

from vault.errors import FrameError

__all__ = ["MAX_FRAME", "FrameReader", "FrameWriter"]

MAX_FRAME = 256 * 2**20
"""Largest frame in bytes; a longer one is refused before memory is taken for it."""

_LENGTH = struct.Struct(">I")

Message = TypeVar("Message")


class FrameReader(Generic[Message]):
    """Reads messages of one type from a file descriptor.

    Args:
        descriptor: A readable pipe; it stays the caller's to close.
        message_type: A tagged msgspec struct or a union of them.
    """

    def __init__(self, descriptor: int, message_type: type[Message]) -> None:
        self._descriptor = descriptor
        self._decoder = msgspec.msgpack.Decoder(message_type)

    def read(self) -> Message | None:
        """Wait for one message; `None` when the other end has closed between two messages.

        Raises:
            FrameError: the stream ended inside a message, or the bytes are no message.
        """
        header = self._exactly(_LENGTH.size)
        if header is None:
            return None
        (length,) = _LENGTH.unpack(header)
        if length > MAX_FRAME:
            raise FrameError(f"A frame of {length} bytes was announced; {MAX_FRAME} is the most.")
        body = self._exactly(length)
        if body is None:
            raise FrameError("The stream ended inside a frame.")
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FrameError("A frame is no message of this protocol.") from error

    def _exactly(self, count: int) -> bytes | None:
        """Read `count` bytes; `None` if the stream ended before the first of them."""
        parts: list[bytes] = []
        missing = count
        while missing:
            part = os.read(self._descriptor, min(missing, 1 << 20))
            if not part:
                if not parts:
                    return None
                raise FrameError("The stream ended inside a frame.")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


class FrameWriter(Generic[Message]):
    """Writes messages to a file descriptor; one writer, one thread.

    Args:
        descriptor: A writable pipe; it stays the caller's to close.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._encoder = msgspec.msgpack.Encoder()

    def write(self, message: Message) -> None:
        """Send one message.

        Raises:
            FrameError: the message is larger than `MAX_FRAME`.
            BrokenPipeError: the other end is gone.
        """
        body = self._encoder.encode(message)
        if len(body) > MAX_FRAME:
            raise FrameError(f"A message of {len(body)} bytes was to be sent; {MAX_FRAME} is the most.")
        view = memoryview(_LENGTH.pack(len(body)) + body)
        while view:
            view = view[os.write(self._descriptor, view) :]
