"""Frames between our own processes, over real pipes."""

import os
import struct
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vault.errors import FrameError
from vault.frames import MAX_FRAME, FrameReader, FrameWriter


class Say(msgspec.Struct, tag=True):
    text: str
    number: int = 0


class Carry(msgspec.Struct, tag=True):
    tokens: bytes


Spoken = Say | Carry


@dataclass
class Pipe:
    """A pipe whose ends can be closed early."""

    reading: int
    writing: int

    def feed(self, data: bytes) -> None:
        """Write everything from another thread (a pipe holds 64 KiB) and close the writing end."""

        def write() -> None:
            view = memoryview(data)
            try:
                while view:
                    view = view[os.write(self.writing, view) :]
            except BrokenPipeError:
                pass  # the reader has refused what it saw
            finally:
                os.close(self.writing)

        self.feeder = threading.Thread(target=write)
        self.feeder.start()

    def close(self) -> None:
        os.close(self.reading)
        self.feeder.join()


def read_all(data: bytes) -> list[Spoken]:
    """What a reader makes of these bytes."""
    pipe = Pipe(*os.pipe())
    pipe.feed(data)
    try:
        reader: FrameReader[Spoken] = FrameReader(pipe.reading, Spoken)  # type: ignore[arg-type]
        messages = []
        while (message := reader.read()) is not None:
            messages.append(message)
        return messages
    finally:
        pipe.close()


def frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        try:
            os.close(descriptor)
        except OSError:
            continue


MESSAGES = st.one_of(
    st.builds(Say, text=st.text(st.characters(exclude_categories=["Cs"])), number=st.integers(-(2**63), 2**63)),
    st.builds(Carry, tokens=st.binary(max_size=300_000)),
)


@given(st.lists(MESSAGES, max_size=5))
@example([Carry(bytes(3 * 2**20))])
def test_what_is_written_is_read(messages: list[Spoken]) -> None:
    reading, writing = os.pipe()
    received: list[Spoken] = []

    def receive() -> None:
        reader: FrameReader[Spoken] = FrameReader(reading, Spoken)  # type: ignore[arg-type]
        while (message := reader.read()) is not None:
            received.append(message)

    thread = threading.Thread(target=receive)
    thread.start()
    try:
        writer: FrameWriter[Spoken] = FrameWriter(writing)
        for message in messages:
            writer.write(message)
    finally:
        os.close(writing)
        thread.join()
        os.close(reading)
    assert received == messages


def test_an_end_between_two_messages_is_the_end() -> None:
    assert read_all(b"") == []
    assert read_all(frame(msgspec.msgpack.encode(Say("hello")))) == [Say("hello")]


@pytest.mark.parametrize("missing", [1, 3, 10])
def test_an_end_inside_a_message_is_an_error(missing: int) -> None:
    whole = frame(msgspec.msgpack.encode(Say("hello there")))
    with pytest.raises(FrameError, match="ended inside"):
        read_all(whole + whole[:-missing])


@pytest.mark.parametrize("header", [b"\x00", b"\x00\x00\x00", b"\x00\x00\x00\x05"])
def test_an_end_inside_or_right_after_a_header_is_an_error(header: bytes) -> None:
    with pytest.raises(FrameError, match="ended inside"):
        read_all(header)


@pytest.mark.parametrize("length", [MAX_FRAME + 1, 2**32 - 1])
def test_an_oversize_frame_is_refused_before_memory_is_taken_or_a_byte_awaited(
    pipe: tuple[int, int], length: int
) -> None:
    reading, writing = pipe
    os.write(writing, struct.pack(">I", length))  # and nothing more; the other end stays open
    reader: FrameReader[Say] = FrameReader(reading, Say)
    tracemalloc.start()
    try:
        with pytest.raises(FrameError, match=str(length)):
            reader.read()
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_large_frame_that_never_comes_takes_no_memory() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(FrameError, match="ended inside"):
            read_all(struct.pack(">I", MAX_FRAME) + b"x" * 1000)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


def test_a_message_larger_than_a_frame_is_not_sent(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer: FrameWriter[Carry] = FrameWriter(writing)
    with pytest.raises(FrameError, match=str(MAX_FRAME)):
        writer.write(Carry(bytes(MAX_FRAME)))
    os.close(writing)
    assert os.read(reading, 1) == b""


def test_writing_to_a_reader_that_is_gone_is_a_broken_pipe(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.close(reading)
    writer: FrameWriter[Say] = FrameWriter(writing)
    with pytest.raises(BrokenPipeError):
        writer.write(Say("anybody?"))


SAY = {"type": "Say", "text": "hello"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        msgspec.msgpack.encode({"type": "Unknown"}),
        msgspec.msgpack.encode({"text": "no type"}),
        msgspec.msgpack.encode({"type": "Say"}),
        msgspec.msgpack.encode({**SAY, "number": "7"}),
        msgspec.msgpack.encode([1, 2]),
        msgspec.msgpack.encode(SAY) + b"\xc0",
        b"\x82\xa4type\xa3Say\xa4text\xa2\xff\xfe",
        b"\x83\xa4type\xa3Say\xa4text\xa1a\xa1x" + b"\x91" * 200_000 + b"\xc0",
        b"\x83\xa4type\xa3Say\xa4text\xa1a\xa1x\xdd\xff\xff\xff\xff",
    ],
    ids=[
        *("empty", "unknown type", "no type", "field missing", "wrong type", "no map", "bytes left"),
        *("not utf-8", "nested deeply", "huge array announced"),
    ],
)
def test_bytes_that_are_no_message_are_an_error(body: bytes) -> None:
    with pytest.raises(FrameError, match="no message of this protocol"):
        read_all(frame(body))


MUTATIONS: list[Callable[[bytes, int, int], bytes]] = [
    lambda data, at, value: data[:at] + bytes([value]) + data[at + 1 :],
    lambda data, at, value: data[:at] + bytes([value]) + data[at:],
    lambda data, at, _value: data[:at],
]


@given(st.binary(max_size=200))
def test_no_bytes_make_more_than_a_frame_error(data: bytes) -> None:
    only_messages_or_a_frame_error(data)
    only_messages_or_a_frame_error(frame(data))


@given(st.lists(MESSAGES, min_size=1, max_size=2), st.sampled_from(MUTATIONS), st.data(), st.integers(0, 255))
def test_no_change_to_a_real_stream_makes_more_than_a_frame_error(
    messages: list[Spoken], mutation: Callable[[bytes, int, int], bytes], data: st.DataObject, value: int
) -> None:
    stream = b"".join(frame(msgspec.msgpack.encode(message)) for message in messages)
    at = data.draw(st.integers(0, min(len(stream) - 1, 60)))
    only_messages_or_a_frame_error(mutation(stream, at, value))


def only_messages_or_a_frame_error(data: bytes) -> None:
    try:
        messages = read_all(data)
    except FrameError:
        return
    assert all(isinstance(message, Say | Carry) for message in messages)
