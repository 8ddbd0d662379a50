"""How long nobody touched keyboard or mouse, by a real X server, and by ones that hang or lie."""

import contextlib
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fl_client.limits.x_server import Display, since_last_input_s
from tests.fl_client.limits.impostors import impostor

COOKIE = bytes(range(16))
SHORT_S = 0.2


def entry(number: bytes, cookie: bytes, name: bytes = b"MIT-MAGIC-COOKIE-1") -> bytes:
    """One entry of an authority file, for any host."""
    fields = (b"", number, name, cookie)
    return b"\xff\xff" + b"".join(struct.pack(">H", len(field)) + field for field in fields)


def whole(end: socket.socket, count: int) -> bytes:
    return end.recv(count, socket.MSG_WAITALL)


class Screen(NamedTuple):
    """An X server that runs."""

    display: Display

    def key_is_pressed(self) -> None:
        """Press a key, as the XTEST extension does."""
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(str(self.display.sockets / f"X{self.display.name[1:]}"))
            name, cookie = b"MIT-MAGIC-COOKIE-1\0\0", COOKIE
            end.sendall(struct.pack("<BxHHHHxx", ord("l"), 11, 0, 18, 16) + name + cookie)
            whole(end, 4 * struct.unpack("<6xH", whole(end, 8))[0])
            end.sendall(struct.pack("<BxHHxx", 98, 4, 5) + b"XTEST\0\0\0")
            opcode = whole(end, 32)[9]
            for event in (2, 3):  # down, and up
                end.sendall(struct.pack("<BBHBB2xI4x8xhh8x", opcode, 2, 9, event, 38, 0, 0, 0))
            end.sendall(struct.pack("<BxH", 43, 1))  # a question: the rest was done when it is answered
            while (
                answer := whole(end, 32)[0]
            ) != 1:  # of a keyboard that wasn't used before it tells everybody first
                assert answer


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb isn't installed: no X server to ask")
    authority = tmp_path_factory.mktemp("x") / "Xauthority"
    authority.write_bytes(entry(b"", COOKIE))
    arguments = [
        "Xvfb",
        "-displayfd",
        "1",
        "-auth",
        str(authority),
        "-nolisten",
        "tcp",
        "-noreset",
        "-screen",
        "0",
        "64x64x8",
    ]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            assert server.stdout is not None
            number = server.stdout.readline().decode().strip()
            assert number, "the X server didn't start"
            yield Screen(Display(f":{number}", authority))
        finally:
            server.terminate()


def unused(screen: Screen) -> float:
    found = since_last_input_s(screen.display)
    assert found is not None
    return found


def test_the_time_without_input_grows_and_a_key_ends_it(screen: Screen) -> None:
    while unused(screen) < 0.3:
        time.sleep(0.01)
    screen.key_is_pressed()
    while unused(screen) >= 0.3:  # it takes note of a key when it has answered everybody
        time.sleep(0.01)


@pytest.mark.parametrize("form", ["{}.0", "unix{}", "unix{}.0"])
def test_a_display_of_this_machine_has_many_names(screen: Screen, form: str) -> None:
    assert since_last_input_s(screen.display._replace(name=form.format(screen.display.name))) is not None


@pytest.mark.parametrize(
    "name", ["", ":", "localhost:10.0", "elsewhere:0", "/tmp/X0", ":0:0", ":٣", ":123456", ":-1"]
)
def test_a_display_of_another_machine_or_of_none_is_not_asked(screen: Screen, name: str) -> None:
    assert since_last_input_s(screen.display._replace(name=name)) is None


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        entry(b"", b"\xff" * 16),
        entry(b"", COOKIE, b"XDM-AUTHORIZATION-1"),
        entry(b"7", COOKIE),
        entry(b"", COOKIE)[:-3],
        b"\xff" * 100,
    ],
)
def test_without_its_cookie_the_server_says_nothing(screen: Screen, tmp_path: Path, kept: bytes) -> None:
    (tmp_path / "kept").write_bytes(kept)
    assert since_last_input_s(screen.display._replace(authority=tmp_path / "kept")) is None
    assert since_last_input_s(screen.display._replace(authority=tmp_path / "missing")) is None


def test_its_cookie_is_found_among_others(screen: Screen, tmp_path: Path) -> None:
    number = screen.display.name[1:].encode()
    others = entry(b"98765", bytes(16)) + entry(number, b"x", b"XDM-AUTHORIZATION-1")
    (tmp_path / "kept").write_bytes(others + entry(number, COOKIE))
    assert since_last_input_s(screen.display._replace(authority=tmp_path / "kept")) is not None


def test_where_no_server_is_nobody_says(tmp_path: Path) -> None:
    assert since_last_input_s(Display(":0", tmp_path / "missing", tmp_path)) is None


@contextlib.contextmanager
def liar(*pieces: bytes) -> Iterator[Display]:
    """What isn't an X server, and says these pieces."""
    with impostor("X0", *pieces) as path:
        yield Display(":0", path.parent / "none", path.parent)


SETUP = struct.pack("<BxHHH", 1, 11, 0, 10) + bytes(40)
PRESENT = b"\1" + bytes(7) + b"\1\x80" + bytes(22)


@pytest.mark.parametrize("pieces", [(), (b"\1",), (SETUP,), (SETUP, PRESENT), (SETUP, PRESENT, b"\1" + bytes(20))])
def test_a_server_that_hangs_is_given_up(pieces: tuple[bytes, ...]) -> None:
    with liar(*pieces) as display:
        assert since_last_input_s(display, within_s=SHORT_S) is None


def test_events_before_an_answer_are_passed_over() -> None:
    event = b"\x1c" + bytes(31)
    idle = b"\1" + bytes(15) + struct.pack("<I", 90_500) + bytes(12)
    with liar(SETUP, event + PRESENT, event * 2 + idle) as display:
        assert since_last_input_s(display) == 90.5


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80))
@example(b"\1" + bytes(5) + b"\xff\xff", b"", b"")
@example(SETUP, PRESENT, b"\1" + b"\xff" * 31)
@example(SETUP, b"\0" + bytes(31), b"")
def test_bytes_that_no_server_says_are_no_answer(setup: bytes, present: bytes, idle: bytes) -> None:
    with liar(setup, present, idle) as display:
        found = since_last_input_s(display, within_s=0.05)
    assert found is None or found >= 0
