"""How long nobody has touched keyboard or mouse, as an X server says (MIT-SCREEN-SAVER, `QueryInfo`).

Two questions over the server's own Unix socket, in the X protocol (X11R7, appendix B); libX11 would end the process
over a server that goes away. A server elsewhere is not asked: it knows of another machine's keyboard.
"""

import re
import struct
from pathlib import Path
from typing import NamedTuple

from fl_client.limits.local_socket import LocalSocket

__all__ = ["Display", "since_last_input_s"]

_WITHIN_S = 1.0
_HERE = re.compile(r"(?:unix)?:([0-9]{1,5})(?:\.[0-9]{1,5})?")
_COOKIE = b"MIT-MAGIC-COOKIE-1"
_EXTENSION = b"MIT-SCREEN-SAVER"
_MOST_BYTES = 1 << 18
_REPLY = 32
_QUERY_EXTENSION = 98
_QUERY_INFO = 1
_SET_UP, _IS_REPLY, _IS_ERROR = 1, 1, 0


class Display(NamedTuple):
    """Where an X server is.

    Attributes:
        name: As `DISPLAY` has it; empty where there is none.
        authority: The file that holds its cookie.
        sockets: The folder of the servers' sockets.
    """

    name: str
    authority: Path
    sockets: Path = Path("/tmp/.X11-unix")  # noqa: S108  where X servers have them


def since_last_input_s(display: Display, *, within_s: float = _WITHIN_S) -> float | None:
    """Seconds without input; `None` where no server of this machine says.

    Args:
        display: The server.
        within_s: Seconds after which it isn't waited for any longer.
    """
    here = _HERE.fullmatch(display.name)
    if here is None:
        return None
    server = _Server(within_s)
    try:
        server.open(display.sockets / f"X{here[1]}", _cookie(display.authority, here[1].encode()))
        return server.since_last_input_ms() / 1000
    except (OSError, ValueError, struct.error):
        return None
    finally:
        server.close()


class _Server:
    """A connection to an X server, for as long as it may take."""

    def __init__(self, within_s: float) -> None:
        self._socket = LocalSocket("the X server", within_s)
        self._root = 0

    def close(self) -> None:
        self._socket.close()

    def open(self, path: Path, cookie: bytes) -> None:
        """Connect and sign in."""
        self._socket.connect(str(path))
        name = _COOKIE if cookie else b""
        self._socket.write(
            struct.pack("<BxHHHHxx", ord("l"), 11, 0, len(name), len(cookie)) + _padded(name) + _padded(cookie)
        )
        answer, *_, more = struct.unpack("<BxHHH", self._read(8))
        setup = self._read(more * 4)
        if answer != _SET_UP:
            raise ValueError("the X server doesn't let us in")
        vendor, _, _screens, formats = struct.unpack_from("<HHBB", setup, 16)
        (self._root,) = struct.unpack_from("<I", setup, 32 + -(-vendor // 4) * 4 + formats * 8)

    def since_last_input_ms(self) -> int:
        """Milliseconds without input."""
        name = _padded(_EXTENSION)
        head = struct.pack("<BxHHxx", _QUERY_EXTENSION, 2 + len(name) // 4, len(_EXTENSION))
        present, opcode = struct.unpack_from("<BB", self._asked(head + name), 8)
        if not present:
            raise ValueError("the X server has no screen saver")
        reply = self._asked(struct.pack("<BBHI", opcode, _QUERY_INFO, 2, self._root))
        (idle_ms,) = struct.unpack_from("<I", reply, 16)
        return int(idle_ms)

    def _asked(self, request: bytes) -> bytes:
        """The reply to a request; events that come before it are passed over."""
        self._socket.write(request)
        while (reply := self._read(_REPLY))[0] != _IS_REPLY:
            if reply[0] == _IS_ERROR:
                raise ValueError("the X server refused")
        (more,) = struct.unpack_from("<I", reply, 4)
        return reply + self._read(more * 4)

    def _read(self, count: int) -> bytes:
        if count > _MOST_BYTES:
            raise ValueError("larger than any answer is")
        data = b""
        while len(data) < count:
            data += self._socket.read(count - len(data))
        return data


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _cookie(authority: Path, number: bytes) -> bytes:
    """What a display's server wants to be told, from a file of such entries (Xau); empty where it isn't there."""
    try:
        with authority.open("rb") as file:
            data = file.read(_MOST_BYTES)
        while data:
            data = data[2:]  # the family of the address
            fields = []
            for _ in range(4):
                (length,) = struct.unpack_from(">H", data)
                fields.append(data[2 : 2 + length])
                data = data[2 + length :]
            _address, of_display, name, cookie = fields
            if name == _COOKIE and of_display in (number, b""):
                return cookie
    except (OSError, struct.error):
        pass
    return b""
