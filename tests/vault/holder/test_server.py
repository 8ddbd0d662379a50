"""What the holder of a key answers, and to whom; when it ends; and that nobody can make it wait."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.machine import Machine
from vault.errors import FrameError
from vault.frames import FrameBuffer, FrameReader, frame
from vault.holder.address import reachable
from vault.holder.protocol import (
    HELD_BYTES,
    MOST_BYTES,
    VERSION,
    Done,
    Get,
    Held,
    Key,
    Lock,
    Refused,
    Reply,
    Request,
    Setup,
    Status,
    Touch,
)
from vault.holder.server import Server
from vault.home import Home
from vault.keys import KEY_BYTES
from vault.lock import LockLatch, LockLimits
from vault.memory import SecretBuffer

VAULT = "ab" * 16
SECRET = bytes(range(HELD_BYTES))
WITHIN_S = 20


class Serving:
    """A server on a thread of this process, on a machine whose time is ours."""

    def __init__(self, home: Home, limits: LockLimits) -> None:
        self.machine = Machine()
        self.key = SecretBuffer.of(SECRET)
        self.path = home.data / "s.sock"
        setup = Setup(VAULT, str(home.vault), str(home.data), str(self.path), limits)
        listener = socket.socket(socket.AF_UNIX)
        with reachable(self.path) as address:
            listener.bind(address)
        listener.listen()
        server = Server(self.key, setup, listener, self.machine)
        self._thread = threading.Thread(target=server.serve)
        self._thread.start()

    @contextlib.contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(WITHIN_S)
            with reachable(self.path) as address:
                connection.connect(address)
            yield connection

    def ask(self, request: Request) -> tuple[Reply | None, bytes]:
        """The answer, and what follows it."""
        with self.connected() as connection:
            return self.answer_to(connection, frame(request))

    def answer_to(self, connection: socket.socket, data: bytes) -> tuple[Reply | None, bytes]:
        said = b""
        with contextlib.suppress(ConnectionError):  # it ended in the middle of what we say
            connection.sendall(data)
            while part := connection.recv(4096):
                said += part
        if not said:
            return None, b""
        length = 4 + struct.unpack(">I", said[:4])[0]
        return msgspec.msgpack.decode(said[4:length], type=Reply), said[length:]

    def over(self) -> bool:
        """Wait for its end; the key is wiped then."""
        self._thread.join(WITHIN_S)
        assert self.key.wiped
        return not self._thread.is_alive()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self.ask(Lock())
        assert self.over()


Start = Callable[..., Serving]


@pytest.fixture
def start(home: Home) -> Iterator[Start]:
    """Start a server with limits."""
    home.vault.mkdir(parents=True)
    started: list[Serving] = []

    def start(idle_s: float | None = None, *, on_suspend: bool = False) -> Serving:
        started.append(Serving(home, LockLimits(idle_s, on_suspend)))
        return started[-1]

    yield start
    for each in started:
        each.stop()


# Answers


def test_the_key_follows_the_answer_and_is_in_no_message(start: Start) -> None:
    serving = start()
    assert serving.ask(Get(vault_id=VAULT)) == (Key(), SECRET)
    assert serving.ask(Get(vault_id=VAULT)) == (Key(), SECRET)
    assert HELD_BYTES == KEY_BYTES


def test_another_vaults_key_is_not_given(start: Start) -> None:
    assert start().ask(Get(vault_id="cd" * 16)) == (Refused("vault"), b"")


@pytest.mark.parametrize(
    "request_", [Get(vault_id=VAULT, version=VERSION + 1), Touch(VERSION + 1), Status(VERSION + 1)], ids=type
)
def test_a_newer_programs_request_is_refused_by_name(start: Start, request_: Request) -> None:
    assert start().ask(request_) == (Refused("version"), b"")


def test_a_newer_programs_lock_is_obeyed(start: Start) -> None:
    serving = start()
    assert serving.ask(Lock(VERSION + 1)) == (Done(), b"")
    assert serving.over()


def test_the_state_says_how_long_the_key_stays(start: Start) -> None:
    serving = start(60)
    serving.machine.passes(20)
    held, _ = serving.ask(Status())
    assert isinstance(held, Held)
    assert (held.vault_id, held.left_s) == (VAULT, 40)


# Its end


def test_a_lock_wipes_the_key_before_it_is_answered(start: Start) -> None:
    serving = start()
    assert serving.ask(Lock()) == (Done(), b"")
    assert serving.key.wiped
    assert serving.over()


@pytest.mark.parametrize("request_", [Get(vault_id=VAULT), Touch()], ids=["get", "touch"])
def test_use_keeps_the_key(start: Start, request_: Request) -> None:
    serving = start(60)
    for _ in range(3):
        serving.machine.passes(50)
        assert serving.ask(request_)[0] is not None
    serving.machine.passes(60)
    assert serving.over()


def test_looking_does_not_keep_the_key(start: Start) -> None:
    serving = start(60)
    serving.machine.passes(50)
    assert serving.ask(Status())[0] is not None
    serving.machine.passes(10)
    assert serving.over()


def test_a_refused_request_does_not_keep_the_key(start: Start) -> None:
    serving = start(60)
    serving.machine.passes(50)
    serving.ask(Get(vault_id="cd" * 16))
    serving.machine.passes(10)
    assert serving.over()


def test_after_a_sleep_the_key_is_gone_and_was_given_to_nobody(start: Start) -> None:
    serving = start(on_suspend=True)
    with serving.connected() as connection:
        serving.machine.sleeps(5)
        assert serving.answer_to(connection, frame(Get(vault_id=VAULT))) == (None, b"")
    assert serving.over()


def test_a_request_whose_end_comes_after_a_sleep_gets_no_answer(start: Start) -> None:
    serving = start(on_suspend=True)
    request = frame(Get(vault_id=VAULT))
    with serving.connected() as connection:
        connection.sendall(request[:5])
        serving.ask(Status())  # so that the first part was read
        serving.machine.sleeps(5)
        assert serving.answer_to(connection, request[5:]) == (None, b"")
    assert serving.over()


def test_a_sleep_is_no_matter_where_the_person_wants_it_so(start: Start) -> None:
    serving = start()
    serving.machine.sleeps(1e6)
    assert serving.ask(Get(vault_id=VAULT)) == (Key(), SECRET)


def test_time_asleep_counts_as_time_without_use(start: Start) -> None:
    serving = start(60)
    serving.machine.sleeps(60)
    assert serving.over()


def test_the_latch_ends_it_even_if_nobody_tells_it(start: Start, home: Home) -> None:
    serving = start()
    LockLatch(home.data).engage()
    assert serving.over()


@pytest.mark.parametrize("change", ["gone", "replaced"])
def test_one_that_nobody_can_reach_any_more_ends(start: Start, change: str) -> None:
    serving = start()
    serving.path.unlink()
    if change == "replaced":
        serving.path.touch()
    assert serving.over()


def test_the_key_goes_with_its_vault(start: Start, home: Home) -> None:
    serving = start()
    home.vault.rmdir()
    assert serving.over()


# Clients that mean no good


def test_those_who_say_nothing_keep_nobody_waiting(start: Start) -> None:
    serving = start()
    with contextlib.ExitStack() as silent:
        for _ in range(100):
            silent.enter_context(serving.connected())
            assert serving.ask(Get(vault_id=VAULT)) == (Key(), SECRET)


def test_one_who_says_nothing_is_hung_up_on(start: Start) -> None:
    serving = start()
    with serving.connected() as connection:
        connection.sendall(frame(Status())[:3])
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        struct.pack(">I", MOST_BYTES + 1),
        struct.pack(">I", 1) + b"\xc1",
        struct.pack(">I", 0),
        b"GET / HTTP/1.1\r\n\r\n",
        frame(Status()) + b"more",
        frame({"type": "get", "version": 1}),
        frame({"type": "get", "version": 1, "vault_id": "short"}),
        frame({"type": "status", "version": "one"}),
        frame({"type": "lock", "version": 1, "more": True}),
        frame({"type": "setup"}),
        frame([["deep"] * 10] * 10),
    ],
)
def test_what_is_no_request_is_not_answered(start: Start, data: bytes) -> None:
    serving = start()
    with serving.connected() as connection:
        assert serving.answer_to(connection, data) == (None, b"")
    assert serving.ask(Get(vault_id=VAULT)) == (Key(), SECRET)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300) | st.binary(max_size=200).map(lambda b: struct.pack(">I", len(b)) + b))
def test_no_bytes_get_the_key_or_end_the_holder(running: Serving, data: bytes) -> None:
    with running.connected() as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        assert SECRET not in running.answer_to(connection, b"")[1]
    assert running.ask(Status())[0] is not None


@pytest.fixture
def running(start: Start) -> Serving:
    return start()


@given(
    request=st.sampled_from([Get(vault_id=VAULT), Touch(), Status(), Lock()]),
    cuts=st.lists(st.integers(0, 80), max_size=6),
)
def test_a_request_is_the_same_however_its_bytes_arrive(request: Request, cuts: list[int]) -> None:
    data = frame(request)
    parts = FrameBuffer(Request, most=MOST_BYTES)  # type: ignore[arg-type,var-annotated]
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    seen = [parts.add(data[begin:end]) for begin, end in zip([0, *ends], ends, strict=False)]
    assert seen[-1] == request
    assert seen[:-1] == [None] * (len(seen) - 1)


@given(data=st.binary(max_size=600))
def test_no_bytes_make_more_than_our_own_error_of_a_request(data: bytes) -> None:
    parts = FrameBuffer(Request, most=MOST_BYTES)  # type: ignore[arg-type,var-annotated]
    with contextlib.suppress(FrameError):
        assert isinstance(parts.add(data), Request | None)


@given(data=st.binary(max_size=600))
def test_no_bytes_make_more_than_our_own_error_of_a_reply(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        replies: FrameReader[Reply] = FrameReader(ours.fileno(), Reply, most=MOST_BYTES)  # type: ignore[arg-type]
        with contextlib.suppress(FrameError):
            assert isinstance(replies.read(), Reply | None)
