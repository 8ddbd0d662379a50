"""A desktop of the test's own: a real bus, with services on it that say what the test wants."""

import contextlib
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from jeepney import (  # type: ignore[import-untyped]
    HeaderFields,
    Message,
    MessageType,
    new_error,
    new_method_return,
)
from jeepney.bus_messages import message_bus  # type: ignore[import-untyped]
from jeepney.io.blocking import DBusConnection, open_dbus_connection  # type: ignore[import-untyped]

__all__ = ["Answer", "Bus", "private_bus"]

_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={folder}/bus</listen>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""

Answer = tuple[str, tuple[object, ...]] | None
"""Signature and values of a reply; `None` for none at all."""


class Bus:
    """A bus that runs.

    Attributes:
        address: As `DBUS_SESSION_BUS_ADDRESS` would have it.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    @contextlib.contextmanager
    def service(self, name: str, answers: dict[str, Answer]) -> Iterator[list[str]]:
        """A service that has methods and properties; what it was asked for is what this gives.

        Args:
            name: On the bus.
            answers: What each method returns, or each property is; others are errors.
        """
        connection = open_dbus_connection(self.address)
        connection.send_and_get_reply(message_bus.RequestName(name), timeout=20)
        asked: list[str] = []
        thread = threading.Thread(target=_serve, args=(connection, answers, asked))
        thread.start()
        try:
            yield asked
        finally:
            connection.sock.shutdown(2)
            thread.join()
            connection.close()

    def logind(
        self, idle: bool, since_us: int = 0, inhibited: str = "shutdown:sleep"
    ) -> "contextlib.AbstractContextManager[list[str]]":
        """systemd-logind, as far as its manager tells whether sessions are idle."""
        answers: dict[str, Answer] = {
            "IdleHint": ("v", (("b", idle),)),
            "IdleSinceHint": ("v", (("t", since_us),)),
            "BlockInhibited": ("v", (("s", inhibited),)),
        }
        return self.service("org.freedesktop.login1", answers)

    def mutter(self, idle_ms: int) -> "contextlib.AbstractContextManager[list[str]]":
        """GNOME's compositor."""
        return self.service("org.gnome.Mutter.IdleMonitor", {"GetIdletime": ("t", (idle_ms,))})

    def network_manager(self, metered: int) -> "contextlib.AbstractContextManager[list[str]]":
        """NetworkManager, with one of the values of `NMMetered`."""
        return self.service("org.freedesktop.NetworkManager", {"Metered": ("v", (("u", metered),))})


def _serve(connection: DBusConnection, answers: dict[str, Answer], asked: list[str]) -> None:
    with contextlib.suppress(OSError):
        while True:
            call = connection.receive()
            if call.header.message_type is MessageType.method_call:
                name = call.header.fields[HeaderFields.member]
                asked.append(call.body[1] if name == "Get" else name)
                if reply := _reply(call, answers, asked[-1]):
                    connection.send(reply)


def _reply(call: Message, answers: dict[str, Answer], name: str) -> Message | None:
    if name not in answers:
        return new_error(
            call, "org.freedesktop.DBus.Error.UnknownMethod", "s", ("there is nothing () of this name",)
        )
    answer = answers[name]
    return new_method_return(call, *answer) if answer else None


@contextlib.contextmanager
def private_bus() -> Iterator[Bus]:
    """A bus with nobody on it."""
    if shutil.which("dbus-daemon") is None:
        pytest.skip("dbus-daemon isn't installed: no desktop to ask")
    # Not pytest's own folder: the path of a Unix socket has room for 107 characters.
    with tempfile.TemporaryDirectory(prefix="claw-") as folder:
        (Path(folder) / "bus.conf").write_text(_CONFIG.format(folder=folder))
        arguments = ["dbus-daemon", f"--config-file={folder}/bus.conf", "--nofork", "--print-address=1"]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as daemon:
            try:
                assert daemon.stdout is not None
                assert daemon.stdout.readline(), "the bus didn't start"
                yield Bus(f"unix:path={folder}/bus")
            finally:
                daemon.kill()
