"""Questions over D-Bus: to a real bus, to ones that hang, and to ones that say what no bus says."""

import socket
import tempfile
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fl_client.limits.bus import Call, ask, property_of
from tests.fl_client.limits.desktop import Bus
from tests.fl_client.limits.impostors import impostor

HELLO = b"OK 1234deadbeef\r\n"
NAMES = Call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ListNames")
SHORT_S = 0.2


def of(name: str) -> Call:
    return Call("a.b", "/a/b", "a.b", name)


def test_what_services_answer_is_given_back_in_the_order_of_the_questions(bus: Bus) -> None:
    with bus.service("a.b", {"Two": ("ts", (2, "two")), "One": ("v", (("b", True),))}) as asked:
        replies = ask(bus.address, of("Two"), property_of("a.b", "/a/b", "a.b", "One"), of("Three"), NAMES)
    assert replies[:3] == [(2, "two"), (("b", True),), None]
    assert replies[3]
    assert asked == ["Two", "One", "Three"]


def test_who_is_not_on_the_bus_is_neither_started_nor_waited_for(bus: Bus) -> None:
    began = time.monotonic()
    assert ask(bus.address, of("One"), within_s=60) == [None]
    assert time.monotonic() - began < 30


def test_a_service_that_hangs_is_given_up_and_the_others_are_heard(bus: Bus) -> None:
    with bus.service("a.b", {"Hangs": None, "Answers": ("u", (7,))}):
        assert ask(bus.address, of("Hangs"), of("Answers"), within_s=SHORT_S) == [None, (7,)]


@pytest.mark.parametrize(
    "address",
    [
        *("", ":", "unix", "unix:", "unix:path=", "unix:path=%00", "unix:path=\udc80"),
        *("unix:path=/no/such/bus", "unix:abstract=nobody-listens-here", "unix:path=/" + "x" * 200),
        "tcp:host=127.0.0.1,port=9",
    ],
)
def test_where_there_is_no_bus_nobody_answers(address: str) -> None:
    assert ask(address, NAMES, of("One")) == [None, None]


@pytest.mark.parametrize("pieces", [(), (HELLO,), (b"OK",), (b"REJECTED\r\n",), (b"x" * 10_000,)])
def test_a_bus_that_hangs_or_refuses_before_it_has_greeted_is_given_up(pieces: tuple[bytes, ...]) -> None:
    with impostor("bus", *pieces) as path:
        assert ask(f"unix:path={path}", NAMES, within_s=SHORT_S) == [None]


def test_a_bus_that_accepts_nobody_any_more_is_given_up() -> None:
    with tempfile.TemporaryDirectory(prefix="claw-") as folder, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{folder}/bus")
        listening.listen(0)
        for _ in range(4):  # more than wait to be accepted
            assert ask(f"unix:path={folder}/bus", NAMES, within_s=SHORT_S) == [None]


ENDLESS = (  # an array of structures of nothing, in a header and in a body
    b"l\2\0\1\0\0\0\0\1\0\0\0\x18\0\0\0" + b"\1\4a()\0" + bytes(2) + b"\x08\0\0\0" + bytes(12),
    b"l\2\0\1\x10\0\0\0\1\0\0\0\x11\0\0\0\5\1u\0\1\0\0\0\x08\1g\0\3a()" + bytes(8) + b"\x08\0\0\0" + bytes(12),
)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda data: b"l\2\0\1" + bytes(4) + data))
@example(ENDLESS[0])
@example(ENDLESS[1])
@example(b"l\2\0\1" + b"\xff" * 12)
@example(b"")
def test_bytes_that_no_bus_says_are_no_answer(said: bytes) -> None:
    with impostor("bus", HELLO, said) as path:
        assert ask(f"unix:path={path}", NAMES, within_s=0.05) == [None]
