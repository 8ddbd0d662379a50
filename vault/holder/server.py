"""Answers for the held key, to one user's processes, until the key has to go."""

import os
import selectors
import socket
import time
from pathlib import Path

from vault.errors import FrameError
from vault.frames import FrameBuffer, frame
from vault.holder.peer import peer
from vault.holder.protocol import (
    MOST_BYTES,
    VERSION,
    Done,
    Get,
    Held,
    Key,
    Lock,
    Refused,
    Request,
    Setup,
    Touch,
)
from vault.lock import SYSTEM_CLOCK, Clock, LockLatch, LockTimer
from vault.memory import SecretBuffer, is_hardened

__all__ = ["Server"]

_TICK_S = 0.5
_ASK_WITHIN_S = 2.0
"""A connection without a whole request for so long is closed."""
_MOST_CALLERS = 32


class _Caller:
    """A connection whose request isn't whole yet."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.request: FrameBuffer[Request] = FrameBuffer(Request, most=MOST_BYTES)  # type: ignore[arg-type]
        self.until = time.monotonic() + _ASK_WITHIN_S


class Server:
    """Holds the key, and ends with it. Nobody can make it wait: it reads what is there, and never for anybody.

    Args:
        key: The key; wiped at the end.
        setup: Whose it is, and how long it may stay.
        listener: Bound to the socket and listening.
        clock: Of the machine.
    """

    def __init__(
        self, key: SecretBuffer, setup: Setup, listener: socket.socket, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._key = key
        self._setup = setup
        self._listener = listener
        self._timer = LockTimer(setup.limits, clock)
        self._latch = LockLatch(Path(setup.data))
        self._socket = _identity(setup.address)
        self._callers: dict[int, _Caller] = {}
        self._selector = selectors.DefaultSelector()
        self._locked = False

    def serve(self) -> None:
        """Answer until the key has to go; then it is wiped, however this ends."""
        try:
            self._listener.setblocking(False)
            self._selector.register(self._listener, selectors.EVENT_READ)
            while not self._over():
                for ready, _ in self._selector.select(_TICK_S):
                    caller = self._callers.get(ready.fd)
                    if caller is None:
                        self._accept()
                    else:
                        self._read(caller)
                for late in [caller for caller in self._callers.values() if caller.until < time.monotonic()]:
                    self._drop(late)
        finally:
            self._key.wipe()
            for caller in [*self._callers.values()]:
                self._drop(caller)
            self._selector.close()
            self._listener.close()

    def _over(self) -> bool:
        """Whether the key has to go: asked before every answer, too, since the machine may just have woken up."""
        return bool(
            self._locked
            or self._timer.due()
            or self._latch.engaged
            # Nobody could reach us any more to say that the vault is locked.
            or _identity(self._setup.address) != self._socket
            or not os.path.isdir(self._setup.vault)
        )

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # who called has gone
            return
        if peer(connection)[1] != os.geteuid():
            connection.close()
            return
        if len(self._callers) >= _MOST_CALLERS:
            self._drop(min(self._callers.values(), key=lambda caller: caller.until))
        connection.setblocking(False)
        self._callers[connection.fileno()] = _Caller(connection)
        self._selector.register(connection, selectors.EVENT_READ)

    def _drop(self, caller: _Caller) -> None:
        self._selector.unregister(caller.connection)
        del self._callers[caller.connection.fileno()]
        caller.connection.close()

    def _read(self, caller: _Caller) -> None:
        try:
            data = caller.connection.recv(MOST_BYTES)
            request = caller.request.add(data)
            if request is not None and not self._over():
                self._answer(caller.connection, request)
        except (FrameError, OSError):  # it speaks no language of ours, or has gone
            request, data = None, b""
        if request is not None or not data:
            self._drop(caller)

    def _answer(self, connection: socket.socket, request: Request) -> None:
        if isinstance(request, Lock):
            self._locked = True
            self._key.wipe()
            connection.sendall(frame(Done()))
        elif request.version != VERSION:
            connection.sendall(frame(Refused("version")))
        elif isinstance(request, Get):
            if request.vault_id != self._setup.vault_id:
                connection.sendall(frame(Refused("vault")))
                return
            self._timer.used()
            with self._key.opened() as view:
                connection.sendmsg([frame(Key()), view])
        else:
            if isinstance(request, Touch):
                self._timer.used()
            connection.sendall(frame(self.held()))

    def held(self) -> Held:
        """What is held, and for how long."""
        return Held(self._setup.vault_id, self._timer.left(), is_hardened(), self._key.pinned)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
