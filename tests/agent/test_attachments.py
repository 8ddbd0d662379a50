"""Files that come with a message."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.attachments import MAX_BYTES, read_attachment, read_text
from agent.errors import AttachmentRefused
from vault.sanitize import sanitize


def refusal(path: Path) -> AttachmentRefused:
    with pytest.raises(AttachmentRefused) as caught:
        read_attachment(path)
    assert caught.value.exit_code == 2
    return caught.value


def test_a_text_file_is_read_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Grüße\n", encoding="utf-8")
    attachment = read_attachment(path)

    assert (attachment.name, attachment.text) == ("notes.txt", "Grüße\n")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_byte_order_mark_says_how_to_read_it_and_is_no_text(encoding: str) -> None:
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")

    assert read_text(io.BytesIO(mark + "Grüße".encode(encoding)), "it") == "Grüße"


def test_what_could_steer_a_terminal_is_taken_out_of_text_and_name(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2J\nb.txt"
    path.write_bytes(b"one\x1b]52;c;aGk=\x07\r\ntwo")
    attachment = read_attachment(path)

    assert attachment.text == "one]52;c;aGk=\ntwo"
    assert attachment.name == "a[2J b.txt"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert (
        refusal(tmp_path / "none.txt").message == f"{tmp_path}/none.txt can't be read: No such file or directory."
    )


def test_a_folder_is_no_plain_file(tmp_path: Path) -> None:
    assert "is not a plain file" in refusal(tmp_path).message


def test_a_pipe_without_a_writer_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert "is not a plain file" in refusal(tmp_path / "fifo").message


def test_a_device_is_refused_before_it_is_read() -> None:
    assert "is not a plain file" in refusal(Path("/dev/zero")).message


def test_a_refused_file_leaves_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\0")
    before = len(os.listdir("/proc/self/fd"))
    for path in (tmp_path, Path("/dev/zero"), tmp_path / "binary"):
        refusal(path)

    assert len(os.listdir("/proc/self/fd")) == before


def test_the_largest_file_is_read_and_one_byte_more_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    path.write_bytes(b"x" * MAX_BYTES)
    assert len(read_attachment(path).text) == MAX_BYTES

    path.write_bytes(b"x" * (MAX_BYTES + 1))
    error = refusal(path)
    assert f"more than {MAX_BYTES // 2**20} MiB" in error.message
    assert "give the part that matters" in error.hint


def test_a_file_of_fifty_megabytes_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.truncate(50 * 2**20)
    assert "too large" in refusal(path).message


def test_text_in_another_encoding_is_refused_with_the_place_and_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "latin1.txt"
    path.write_bytes("Grüße".encode("latin-1"))
    error = refusal(path)

    assert "byte 2" in error.message
    assert "iconv" in error.hint


@pytest.mark.parametrize("content", [b"a\0b", b"\x7fELF\0\0", b"\xff\xfea", b"\xff\xfe\0\0a\0\0\0"])
def test_what_is_not_text_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "binary"
    path.write_bytes(content)
    assert "not" in refusal(path).message


@given(st.binary(max_size=200))
def test_any_bytes_are_harmless_text_or_refused(data: bytes) -> None:
    try:
        text = read_text(io.BytesIO(data), "it")
    except AttachmentRefused:
        return
    assert sanitize(text) == text
    assert "\0" not in text
