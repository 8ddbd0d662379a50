"""How processes of ours speak: length-prefixed msgpack frames over a pipe or a local socket.

A frame is a 4-byte big-endian length and that many bytes of one msgspec struct; tensors and tokens travel as
msgpack binary, unescaped. Decoders are typed: what isn't a message of the protocol is an error, never an object.
"""

import os
import struct
from typing import Generic, TypeVar

import msgspec

from vault.errors import FrameError

__all__ = ["MAX_FRAME", "FrameBuffer", "FrameReader", "FrameWriter", "frame", "own_pipes"]

MAX_FRAME = 256 * 2**20
"""Largest frame in bytes; a longer one is refused before memory is taken for it."""

_LENGTH = struct.Struct(">I")
_ENCODER = msgspec.msgpack.Encoder()

Message = TypeVar("Message")


def frame(message: object) -> bytes:
    """The frame of one message.

    Raises:
        FrameError: the message is larger than `MAX_FRAME`.
    """
    body = _ENCODER.encode(message)
    if len(body) > MAX_FRAME:
        raise FrameError(f"A message of {len(body)} bytes was to be sent; {MAX_FRAME} is the most.")
    return _LENGTH.pack(len(body)) + body


class FrameReader(Generic[Message]):
    """Reads messages of one type from a file descriptor.

    Args:
        descriptor: A readable pipe; it stays the caller's to close.
        message_type: A tagged msgspec struct or a union of them.
        most: Largest frame in bytes.
    """

    def __init__(self, descriptor: int, message_type: type[Message], *, most: int = MAX_FRAME) -> None:
        self._descriptor = descriptor
        self._decoder = msgspec.msgpack.Decoder(message_type)
        self._most = most

    def read(self) -> Message | None:
        """Wait for one message; `None` when the other end has closed between two messages.

        Raises:
            FrameError: the stream ended inside a message, or the bytes are no message.
        """
        header = self._exactly(_LENGTH.size)
        if header is None:
            return None
        body = self._exactly(_announced(header, self._most))
        if body is None:
            raise FrameError("The stream ended inside a frame.")
        return _decoded(self._decoder, body)

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


class FrameBuffer(Generic[Message]):
    """Collects the bytes of one message as they come, for a reader that mustn't wait for them.

    Args:
        message_type: As for `FrameReader`.
        most: Largest frame in bytes.
    """

    def __init__(self, message_type: type[Message], *, most: int = MAX_FRAME) -> None:
        self._decoder = msgspec.msgpack.Decoder(message_type)
        self._most = most
        self._bytes = bytearray()

    def add(self, data: bytes) -> Message | None:
        """Take more bytes; the message, once it is whole.

        Raises:
            FrameError: the bytes are no message, or more than one.
        """
        self._bytes += data
        if len(self._bytes) < _LENGTH.size:
            return None
        whole = _LENGTH.size + _announced(self._bytes[: _LENGTH.size], self._most)
        if len(self._bytes) < whole:
            return None
        if len(self._bytes) > whole:
            raise FrameError("Bytes follow a message that was to be the only one.")
        return _decoded(self._decoder, bytes(self._bytes[_LENGTH.size :]))


class FrameWriter(Generic[Message]):
    """Writes messages to a file descriptor; one writer, one thread.

    Args:
        descriptor: A writable pipe; it stays the caller's to close.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, message: Message) -> None:
        """Send one message.

        Raises:
            FrameError: the message is larger than `MAX_FRAME`.
            BrokenPipeError: the other end is gone.
        """
        view = memoryview(frame(message))
        while view:
            view = view[os.write(self._descriptor, view) :]


def own_pipes() -> tuple[int, int]:
    """The pipes that a child of ours speaks through, moved away from its standard input and output.

    Nothing that a library prints can end up between two frames then.

    Returns:
        Descriptors: what is asked, and where the answers go.
    """
    asked, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    return asked, answers


def _announced(header: bytes | bytearray, most: int) -> int:
    """The length that a header tells."""
    (length,) = _LENGTH.unpack(header)
    if length > most:
        raise FrameError(f"A frame of {length} bytes was announced; {most} is the most.")
    return int(length)


def _decoded(decoder: "msgspec.msgpack.Decoder[Message]", body: bytes) -> Message:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError("A frame is no message of this protocol.") from error
