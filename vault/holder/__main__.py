"""The process that holds the key: `python -I -m vault.holder`, with its set-up and the key on standard input."""

import contextlib
import fcntl
import os
import signal
import socket
import sys
from collections.abc import Iterator

from vault.errors import FrameError
from vault.frames import FrameReader, frame
from vault.holder.protocol import HELD_BYTES, MOST_SETUP_BYTES, Refused, Setup
from vault.holder.server import Server
from vault.memory import SecretBuffer, harden_process, pin_process

__all__ = ["main"]

_BACKLOG = 16


def main() -> int:
    """Detach, take the key, and hold it until it has to go."""
    harden_process()
    if os.fork():
        os._exit(0)  # who started us needn't wait for our end
    os.setsid()
    os.umask(0o177)
    pin_process()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _end)
    setup, key = _given()
    with _listening(setup.address) as listener:
        server = Server(key, setup, listener)
        os.write(1, frame(server.held()))
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(nothing, standard)
        os.close(nothing)
        server.serve()
    return 0


def _end(_number: int, _frame: object) -> None:
    raise SystemExit(0)


def _given() -> tuple[Setup, SecretBuffer]:
    """The set-up and the key; nobody else has them on the way."""
    setup = FrameReader(0, Setup, most=MOST_SETUP_BYTES).read()
    key = SecretBuffer(HELD_BYTES)
    with key.opened() as view:
        missing = view
        while missing:
            count = os.readv(0, [missing])
            if not count:
                raise SystemExit(1)
            missing = missing[count:]
    if setup is None:
        raise SystemExit(1)
    return setup, key


@contextlib.contextmanager
def _listening(path: str) -> Iterator[socket.socket]:
    """Listen at the socket, in place of one that a killed process left; the only one of us that does."""
    folder, name = os.path.split(path)
    os.chdir(folder)  # the path of a socket may be no longer than 107 bytes, its name is shorter
    # Held until the end of this process, however it ends.
    alone = os.open(f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.write(1, frame(Refused("held")))
        raise SystemExit(0) from None
    _remove(name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        try:
            listener.listen(_BACKLOG)
            os.chdir("/")
            yield listener
        finally:
            _remove(path)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


if __name__ == "__main__":
    with contextlib.suppress(FrameError, OSError):  # nobody is left to whom it could be told
        sys.exit(main())
    sys.exit(1)
