"""Passphrase files, and keys made of passphrases."""

import os
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.models import CHEAP
from tests.fixtures.processes import run_function
from vault.errors import PassphraseFileRefused, VaultError
from vault.passphrase import (
    DEFAULT_COST,
    MIN_LENGTH,
    KdfCost,
    check_length,
    read_passphrase_file,
    read_pin_file,
    stretch,
)

SALT = bytes(range(16))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.touch(mode=0o600)
    return path


@pytest.mark.parametrize(
    ("content", "passphrase"),
    [
        (b"correct horse", "correct horse"),
        (b"correct horse\n", "correct horse"),
        (b"correct horse\r\n", "correct horse"),
        (b"correct horse\n\n", "correct horse\n"),
        (b" \tspaces are part of it ", " \tspaces are part of it "),
        ("pässwörd 漢字".encode(), "pässwörd 漢字"),
        (b"x" * 4096, "x" * 4096),
    ],
)
def test_a_passphrase_is_the_whole_file_but_one_line_end(file: Path, content: bytes, passphrase: str) -> None:
    file.write_bytes(content)
    assert read_passphrase_file(file) == passphrase


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o777])
def test_a_file_open_to_group_or_others_is_refused_with_its_mend(file: Path, mode: int) -> None:
    file.write_text("correct horse")
    file.chmod(mode)
    with pytest.raises(PassphraseFileRefused, match="can be read by others") as refused:
        read_passphrase_file(file)
    assert refused.value.hint == f"chmod 600 {file}"
    assert refused.value.exit_code == 3


def test_a_file_that_only_its_owner_can_read_is_enough(file: Path) -> None:
    file.write_text("correct horse")
    file.chmod(0o400)
    assert read_passphrase_file(file) == "correct horse"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"\r\n", "empty"),
        (b"x" * 4097, "larger than 4096 bytes"),
        (b"caf\xe9", "not UTF-8"),
        (b"\xff\xfeh\x00i\x00", "not UTF-8"),
    ],
)
def test_a_file_that_holds_no_passphrase_is_refused(file: Path, content: bytes, why: str) -> None:
    file.write_bytes(content)
    with pytest.raises(PassphraseFileRefused, match=why):
        read_passphrase_file(file)


def test_no_message_quotes_what_a_refused_file_holds(file: Path) -> None:
    file.write_bytes(b"correct horse \xff")
    with pytest.raises(PassphraseFileRefused) as refused:
        read_passphrase_file(file)
    assert "horse" not in refused.value.message + refused.value.hint
    assert refused.value.__cause__ is None


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PassphraseFileRefused, match="No such file"):
        read_passphrase_file(tmp_path / "nowhere")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PassphraseFileRefused, match="not a plain file"):
        read_passphrase_file(tmp_path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(PassphraseFileRefused, match="not a plain file"):
        read_passphrase_file(tmp_path / "pipe")


def test_a_link_is_judged_by_what_it_points_to(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    file.write_text("correct horse")
    assert read_passphrase_file(link) == "correct horse"
    file.chmod(0o644)
    with pytest.raises(PassphraseFileRefused, match="can be read by others"):
        read_passphrase_file(link)
    file.unlink()
    with pytest.raises(PassphraseFileRefused, match="No such file"):
        read_passphrase_file(link)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_another_users_file_is_refused(file: Path) -> None:
    file.write_text("correct horse")
    os.chown(file, 12345, 12345)
    with pytest.raises(PassphraseFileRefused, match="belongs to another user"):
        read_passphrase_file(file)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_its_owner_cannot_read_is_refused(file: Path) -> None:
    file.chmod(0o000)
    with pytest.raises(PassphraseFileRefused, match="Permission denied"):
        read_passphrase_file(file)


def test_a_pin_comes_from_the_same_kind_of_file_and_is_called_by_its_name(file: Path) -> None:
    file.write_text("271828\n")
    assert read_pin_file(file) == "271828"
    file.chmod(0o644)
    with pytest.raises(PassphraseFileRefused, match=r"The PIN file .* can be read by others") as refused:
        read_pin_file(file)
    assert refused.value.hint == f"chmod 600 {file}"


def test_a_passphrase_needs_eight_characters() -> None:
    check_length("x" * MIN_LENGTH)
    for short in ("", "1234567", "漢字漢字漢字漢"):
        with pytest.raises(VaultError, match="at least 8 characters"):
            check_length(short)


def test_stretching_is_argon2id_of_the_rfc() -> None:
    # argon2-cffi 25.1: hash_secret_raw(b"correct horse", SALT, time_cost=1, memory_cost=64, parallelism=1, ...).
    expected = "25ce5233cc1e4d37e9bca31bfef41710e40446cd1cb575932791c5fd3780bd3c"
    assert stretch("correct horse", SALT, CHEAP).hex() == expected


def test_every_part_of_a_stretch_changes_the_key() -> None:
    keys = {
        stretch("correct horse", SALT, CHEAP),
        stretch("correct horsf", SALT, CHEAP),
        stretch("correct horse", bytes(16), CHEAP),
        stretch("correct horse", SALT, KdfCost(memory_kib=65, iterations=1, lanes=1)),
        stretch("correct horse", SALT, KdfCost(memory_kib=64, iterations=2, lanes=1)),
        stretch("correct horse", SALT, KdfCost(memory_kib=64, iterations=1, lanes=2)),
    }
    assert len(keys) == 6


def test_the_cost_of_new_slots_is_256_mebibytes() -> None:
    assert KdfCost(memory_kib=256 * 1024, iterations=3, lanes=4, name="argon2id") == DEFAULT_COST


@given(st.integers(8, 2**22), st.integers(1, 100), st.integers(1, 64))
def test_a_cost_that_can_be_stated_is_one_that_argon2_takes_and_a_person_can_wait_for(
    memory: int, iterations: int, lanes: int
) -> None:
    if memory < 8 * lanes or memory * iterations > 16 * 2**20:
        with pytest.raises(ValueError, match=r"Argon2|costs"):
            KdfCost(memory_kib=memory, iterations=iterations, lanes=lanes)
    else:
        KdfCost(memory_kib=memory, iterations=iterations, lanes=lanes)


def test_too_little_memory_is_a_message_and_not_a_crash() -> None:
    run_function(stretch_without_memory)


def stretch_without_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (2**29, 2**29))
    with pytest.raises(VaultError, match="takes 2048 MiB") as refused:
        stretch("correct horse", SALT, KdfCost(memory_kib=2**21, iterations=1, lanes=1))
    assert refused.value.hint


def test_a_passphrase_opens_however_its_accents_were_typed() -> None:
    composed, decomposed = "caf\u00e9 au lait", "cafe\u0301 au lait"
    assert composed != decomposed
    assert stretch(composed, b"s" * 16, CHEAP) == stretch(decomposed, b"s" * 16, CHEAP)
