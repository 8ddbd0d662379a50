"""How the rest of the program reaches the process that holds the key, starts it, and ends it."""

import contextlib
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from vault.errors import FrameError, VaultError
from vault.frames import FrameReader, FrameWriter
from vault.holder.address import reachable, socket_paths
from vault.holder.peer import peer
from vault.holder.protocol import HELD_BYTES, MOST_BYTES, Get, Held, Key, Lock, Reply, Request, Status, Touch
from vault.lock import LockLimits

if TYPE_CHECKING:
    from vault.home import Home
    from vault.keys import MasterKey, VaultId

__all__ = ["KeyHolder"]

_ANSWER_WITHIN_S = 0.5
_END_WITHIN_S = 0.5
_WINNER_WITHIN_S = 2.0
_TIMEVAL = struct.Struct("ll")


class KeyHolder:
    """The process that holds the key of one person's vault, if there is one.

    One that doesn't answer is as good as none, except to `end`.

    Attributes:
        POSSIBLE: Whether this system lets both ends of a socket know who the other is.

    Args:
        home: The person's.
        environment: Names the folder for sockets; this process's own if not given.
    """

    POSSIBLE: ClassVar[bool] = sys.platform == "linux"

    def __init__(self, home: "Home", environment: Mapping[str, str] | None = None) -> None:
        self._home = home
        self._paths = socket_paths(home.vault, home.data, os.environ if environment is None else environment)

    def key(self, vault_id: "VaultId") -> "MasterKey | None":
        """The key, if it is held. Whether it still opens the vault is for the caller to see.

        Raises:
            VaultError: somebody else's process answers in its place; it was told nothing.
        """
        from vault.keys import MasterKey
        from vault.memory import SecretBuffer

        for connection in self._connections():
            if isinstance(_ask(connection, Get(vault_id=vault_id)), Key):
                key = SecretBuffer(HELD_BYTES)
                with key.opened() as view:
                    whole = _fill(connection, view)
                if whole:
                    return MasterKey(key, vault_id)
        return None

    def touch(self) -> Held | None:
        """Say that the person is there, so that the key stays; what is held, if anything is. Errors as in `key`."""
        return self._held(Touch())

    def status(self) -> Held | None:
        """What is held, and for how long; asking keeps nothing longer. Errors as in `key`."""
        return self._held(Status())

    def end(self) -> bool:
        """End it, and the key with it, whatever state it is in. Whether there was one. Errors as in `key`."""
        ended = False
        for connection in self._connections():
            ended = True
            try:
                process = os.pidfd_open(peer(connection)[0])
            except ProcessLookupError:  # by itself, just now
                continue
            try:
                _ask(connection, Lock())
                if not _has_ended(process):  # it was stopped, or is of another make
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                    _has_ended(process)
            except ProcessLookupError:
                pass
            finally:
                os.close(process)
        return ended

    def start(self, master: "MasterKey", limits: LockLimits) -> Held:
        """Start it with a key, in place of one that may hold another; the vault's latch must be released.

        Args:
            master: The key.
            limits: How long it may stay.

        Raises:
            VaultError: it can't be started here.
        """
        from vault.holder.launch import launch

        if not self.POSSIBLE:
            raise VaultError(
                "Keys are held on Linux alone so far.", hint="Use the keychain, or type the passphrase each time."
            )
        self.end()
        held = launch(self._home, self._paths[0], master, limits)
        given_up = time.monotonic() + _WINNER_WITHIN_S
        while held is None:  # somebody else was faster, by so little that theirs doesn't answer yet
            held = self.status()
            if time.monotonic() > given_up:
                raise VaultError("The process that should hold the key doesn't answer.")
        return held

    def _held(self, request: Request) -> Held | None:
        for connection in self._connections():
            if isinstance(held := _ask(connection, request), Held):
                return held
        return None

    def _connections(self) -> Iterator[socket.socket]:
        """A connection to each one that listens; to two, if the place changed with the environment."""
        for path in self._paths if self.POSSIBLE else ():
            if not os.path.lexists(path):
                continue
            with socket.socket(socket.AF_UNIX) as connection:
                for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                    within = _TIMEVAL.pack(0, int(_ANSWER_WITHIN_S * 1e6))
                    connection.setsockopt(socket.SOL_SOCKET, option, within)
                try:
                    with reachable(path) as address:
                        connection.connect(address)
                except OSError:  # it ended, and left its socket behind
                    continue
                if peer(connection)[1] != os.geteuid():
                    raise VaultError(
                        f"A process of another user answers at {path}; it was told nothing.",
                        hint="Remove that file, and see who could write to its folder.",
                    )
                yield connection


def _ask(connection: socket.socket, request: Request) -> Reply | None:
    """Its answer, if it gives one in time."""
    replies: FrameReader[Reply] = FrameReader(connection.fileno(), Reply, most=MOST_BYTES)  # type: ignore[arg-type]
    try:
        FrameWriter[Request](connection.fileno()).write(request)
        return replies.read()
    except (FrameError, OSError):
        return None


def _fill(connection: socket.socket, view: memoryview) -> bool:
    """Receive the key to where it will lie; whether all of it came."""
    filled = 0
    with contextlib.suppress(OSError):
        while filled < len(view) and (count := connection.recv_into(view[filled:])):
            filled += count
    return filled == len(view)


def _has_ended(process: int) -> bool:
    return bool(select.select([process], [], [], _END_WITHIN_S)[0])
