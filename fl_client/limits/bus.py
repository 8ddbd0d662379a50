"""Questions to the services of a desktop, over D-Bus: all at once, within a second, and none is started for it.

The bytes are jeepney's; the connection isn't, because its own waits without end for a bus that doesn't greet back.
What comes is bounded, and what can't be understood counts as no answer.
"""

import struct
from typing import NamedTuple

from jeepney import (  # type: ignore[import-untyped]
    DBusAddress,
    HeaderFields,
    Message,
    MessageFlag,
    MessageType,
    new_method_call,
)
from jeepney.auth import BEGIN, Authenticator  # type: ignore[import-untyped]
from jeepney.bus import get_connectable_addresses  # type: ignore[import-untyped]
from jeepney.bus_messages import message_bus  # type: ignore[import-untyped]
from jeepney.low_level import calc_msg_size  # type: ignore[import-untyped]

from fl_client.limits.local_socket import LocalSocket

__all__ = ["Call", "Reply", "ask", "property_of"]

WITHIN_S = 1.0
_HEAD = 16
_MOST_BYTES = 1 << 18
_AT_ONCE = 1 << 14
_LOOPS_FOREVER = b"()"
"""A structure of nothing, which D-Bus forbids; an array of them is one that jeepney never comes to the end of."""
_MEANINGLESS = (AssertionError, LookupError, RecursionError, TypeError, ValueError, struct.error)
"""What jeepney raises over bytes that are no message, or no greeting."""

Reply = tuple[object, ...] | None
"""What a method returned; `None` where no answer came, or an error."""


class Call(NamedTuple):
    """A method to call.

    Attributes:
        service: Its name on the bus.
        path: Of the object.
        interface: That has the method.
        method: Its name.
        texts: What it is given.
    """

    service: str
    path: str
    interface: str
    method: str
    texts: tuple[str, ...] = ()


def property_of(service: str, path: str, interface: str, name: str) -> Call:
    """The call that reads a property; it returns a variant."""
    return Call(service, path, "org.freedesktop.DBus.Properties", "Get", (interface, name))


def ask(address: str, *calls: Call, within_s: float = WITHIN_S) -> list[Reply]:
    """Call methods, and wait for their answers.

    Args:
        address: Of the bus, as `DBUS_SESSION_BUS_ADDRESS` has it; empty where there is none.
        calls: What to call.
        within_s: Seconds after which nobody is waited for any longer.

    Returns:
        What each returned.
    """
    replies: list[Reply] = [None] * len(calls)
    name = _socket_name(address)
    if name is None:
        return replies
    connection = _Connection(within_s)
    try:
        connection.open(name)
        serials = {connection.send(_message(call)): n for n, call in enumerate(calls)}
        while serials:
            message = connection.receive()
            n = serials.pop(message.header.fields.get(HeaderFields.reply_serial), None)
            if n is not None and message.header.message_type is MessageType.method_return:
                replies[n] = tuple(message.body)
    except (OSError, *_MEANINGLESS):
        pass  # what has been answered until then was answered
    finally:
        connection.close()
    return replies


class _Connection:
    """A connection to a bus, for as long as it may take.

    Args:
        within_s: Seconds.
    """

    def __init__(self, within_s: float) -> None:
        self._socket = LocalSocket("the bus", within_s)
        self._received = b""
        self._serial = 0

    def close(self) -> None:
        self._socket.close()

    def open(self, name: str) -> None:
        """Connect, say who we are, and be greeted."""
        self._socket.connect(name)
        signing_in = Authenticator()
        for line in signing_in:
            self._socket.write(line)
            signing_in.feed(self._socket.read(_AT_ONCE))
        self._socket.write(BEGIN)
        hello = self.send(message_bus.Hello())
        while self.receive().header.fields.get(HeaderFields.reply_serial) != hello:
            pass

    def send(self, message: Message) -> int:
        """Send a message; returns its number."""
        self._serial += 1
        self._socket.write(message.serialise(serial=self._serial))
        return self._serial

    def receive(self) -> Message:
        """The next message, whatever it is."""
        size = self._size()
        while size is None or len(self._received) < size:
            self._received += self._socket.read(_AT_ONCE)
            size = self._size()
        raw, self._received = self._received[:size], self._received[size:]
        if _LOOPS_FOREVER in raw:
            raise ValueError("a message that may not be looked into")
        return Message.from_buffer(raw)

    def _size(self) -> int | None:
        """Bytes of the next message, where enough of it has come to tell."""
        if len(self._received) < _HEAD:
            return None
        size = int(calc_msg_size(self._received[:_HEAD]))
        if size > _MOST_BYTES:
            raise ValueError("a message larger than any answer is")
        return size


def _message(call: Call) -> Message:
    where = DBusAddress(call.path, bus_name=call.service, interface=call.interface)
    message = new_method_call(where, call.method, "s" * len(call.texts) or None, call.texts)
    message.header.flags |= MessageFlag.no_auto_start
    return message


def _socket_name(address: str) -> str | None:
    """The Unix socket of an address."""
    try:
        return str(next(iter(get_connectable_addresses(address))))
    except (RuntimeError, StopIteration, ValueError):
        return None
