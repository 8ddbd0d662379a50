"""A socket to a program of this machine, for as long as it may take: one that hangs holds nobody up."""

import socket
import time

__all__ = ["LocalSocket"]


class LocalSocket:
    """A connection over a Unix socket.

    Args:
        who: Is at the other end, for errors.
        within_s: Seconds for all of it.
    """

    def __init__(self, who: str, within_s: float) -> None:
        self._who = who
        self._until = time.monotonic() + within_s
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def connect(self, address: str) -> None:
        """Connect to a path, or to an abstract name.

        Raises:
            OSError: nobody is there.
        """
        self._wait_no_longer()
        self._socket.connect(address)

    def read(self, most: int) -> bytes:
        """What comes next, of so many bytes at most, and at least one.

        Raises:
            OSError: nothing comes any more, or not in time.
        """
        self._wait_no_longer()
        data = self._socket.recv(most)
        if not data:
            raise ConnectionResetError(f"{self._who} hung up")
        return data

    def write(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            OSError: it isn't taken, or not in time.
        """
        self._wait_no_longer()
        self._socket.sendall(data)

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def _wait_no_longer(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"{self._who} took too long")
        self._socket.settimeout(left)
