"""Encrypted streams: what age itself reads and writes, and nothing that was altered."""

import base64
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyrage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vault.errors import BackupRefused, ClawError, ImportRefused, VaultError, WrongPassphrase
from vault.portability.age import Opener, opens_by_passphrase
from vault.portability.age_passphrase import WORK, Passphrase
from vault.portability.age_recipients import Identities, Recipients

CHUNK = 1 << 16
LENGTHS = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7]
IDENTITY = pyrage.x25519.Identity.generate()


def by_passphrase(text: str = "correct horse") -> Passphrase:
    return Passphrase(text, work=1)


def pieces(data: bytes, size: int = 5000) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def opened(opener: Opener, data: bytes) -> bytes:
    found: list[bytes] = []
    opener.open(io.BytesIO(data), found.append)
    return b"".join(found)


def sealed(data: bytes) -> bytes:
    file = io.BytesIO()
    by_passphrase().seal(pieces(data), file)
    return file.getvalue()


def sealed_to_recipient(data: bytes) -> bytes:
    file = io.BytesIO()
    Recipients([str(IDENTITY.to_public())]).seal(pieces(data), file)
    return file.getvalue()


@pytest.mark.parametrize("length", LENGTHS)
def test_age_reads_what_is_written_under_a_passphrase(length: int) -> None:
    data = os.urandom(length)
    assert pyrage.passphrase.decrypt(sealed(data), "correct horse") == data


@pytest.mark.parametrize("length", LENGTHS)
def test_what_is_written_is_read_again(length: int) -> None:
    data = os.urandom(length)
    assert opened(by_passphrase(), sealed(data)) == data
    assert opened(Identities([str(IDENTITY)]), sealed_to_recipient(data)) == data


def test_what_age_wrote_under_a_passphrase_is_read() -> None:
    data = os.urandom(CHUNK + 5)
    assert opened(by_passphrase(), pyrage.passphrase.encrypt(data, "correct horse")) == data


def test_age_reads_what_is_written_to_a_recipient_and_the_other_way_round() -> None:
    data = os.urandom(CHUNK + 5)
    assert pyrage.decrypt(sealed_to_recipient(data), [IDENTITY]) == data
    assert opened(Identities([str(IDENTITY)]), pyrage.encrypt(data, [IDENTITY.to_public()])) == data


def test_each_of_several_recipients_opens_it() -> None:
    other = pyrage.x25519.Identity.generate()
    file = io.BytesIO()
    Recipients([str(IDENTITY.to_public()), str(other.to_public())]).seal(pieces(b"for both"), file)
    for identity in (IDENTITY, other):
        assert opened(Identities([str(identity)]), file.getvalue()) == b"for both"


def test_a_passphrase_is_the_same_however_its_letters_are_composed() -> None:
    file = io.BytesIO()
    by_passphrase("caf\u00e9 noir").seal(pieces(b"data"), file)
    assert opened(by_passphrase("cafe\u0301 noir"), file.getvalue()) == b"data"


def test_a_wrong_passphrase_is_told_before_anything_is_read() -> None:
    data = sealed(b"data")
    with pytest.raises(WrongPassphrase):
        opened(by_passphrase("another horse"), data)
    with pytest.raises(WrongPassphrase):
        by_passphrase("another horse").check(io.BytesIO(data))
    by_passphrase().check(io.BytesIO(data))


def test_another_identity_opens_nothing() -> None:
    with pytest.raises(BackupRefused, match="none of these identities"):
        opened(Identities([str(pyrage.x25519.Identity.generate())]), sealed_to_recipient(b"data"))


def test_the_cost_of_a_guess_is_that_of_age() -> None:
    file = io.BytesIO()
    Passphrase("correct horse").seal(iter([]), file)
    assert file.getvalue().split(b"\n")[1].endswith(b" %d" % WORK)
    assert WORK == 18


def test_a_file_that_would_keep_us_busy_for_ever_is_refused() -> None:
    data = sealed(b"data").replace(b" 1\n", b" 30\n", 1)
    with pytest.raises(BackupRefused):
        opened(by_passphrase(), data)


@pytest.mark.parametrize(
    ("seal", "opener"),
    [(sealed, by_passphrase()), (sealed_to_recipient, Identities([str(IDENTITY)]))],
    ids=["passphrase", "recipient"],
)
def test_every_altered_cut_or_lengthened_file_is_refused(seal: Callable[[bytes], bytes], opener: Opener) -> None:
    whole = seal(os.urandom(CHUNK + 300))
    header = whole.index(b"\n---") + 60
    positions = [*range(header), *range(header, len(whole), 997), *range(len(whole) - 20, len(whole))]
    refused = 0
    for position in positions:
        altered = bytearray(whole)
        altered[position] ^= 1 << position % 8
        with pytest.raises((BackupRefused, WrongPassphrase)):
            opened(opener, bytes(altered))
        refused += 1
    for length in [*range(0, header, 7), *range(header, len(whole), 2003), len(whole) - 1]:
        with pytest.raises(BackupRefused):
            opened(opener, whole[:length])
        refused += 1
    for more in (b"\0", b"\n", whole, os.urandom(CHUNK + 16)):
        with pytest.raises(BackupRefused):
            opened(opener, whole + more)
        refused += 1
    assert refused > 300


def test_chunks_in_another_order_are_refused() -> None:
    whole = sealed(os.urandom(3 * CHUNK))
    start = len(whole) - 3 * (CHUNK + 16)
    one, two, three = (whole[start + at * (CHUNK + 16) :][: CHUNK + 16] for at in range(3))
    for order in ((two, one, three), (one, three, two), (one, two), (one, one, two, three)):
        with pytest.raises(BackupRefused):
            opened(by_passphrase(), whole[:start] + b"".join(order))


def test_another_spelling_of_the_header_is_refused() -> None:
    whole = sealed(b"data")
    line = whole.split(b"\n")[3]
    mac = line.removeprefix(b"--- ")
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = mac[:-1] + bytes([alphabet[alphabet.index(mac[-1:]) ^ 1]])
    assert base64.b64decode(twin + b"=") == base64.b64decode(mac + b"=")
    with pytest.raises(BackupRefused):
        opened(by_passphrase(), whole.replace(mac, twin))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=400), st.binary(max_size=60), st.integers(0, 300))
def test_whatever_is_no_file_of_age_is_refused(noise: bytes, patch: bytes, at: int) -> None:
    whole = sealed(b"data")
    patched = whole[:at] + patch + whole[at + len(patch) :]
    for data in (noise, patched) if patched != whole else (noise,):
        for opener in (by_passphrase(), Identities([str(IDENTITY)])):
            with pytest.raises((BackupRefused, WrongPassphrase)):
                opened(opener, data)


@pytest.mark.parametrize("length", [1, 300_000])
def test_a_disk_that_is_full_at_the_last_write_is_noticed(length: int) -> None:
    # pyrage returns as if all were well when the very last write fails.
    class FullAtTheEnd(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    for sealer in (by_passphrase(), Recipients([str(IDENTITY.to_public())])):
        with pytest.raises(OSError, match="No space left"):
            sealer.seal(pieces(bytes(length)), FullAtTheEnd())


def test_what_goes_wrong_while_reading_or_taking_reaches_the_caller_as_it_was() -> None:
    def broken() -> Iterator[bytes]:
        yield b"a beginning"
        raise VaultError("the vault was locked")

    def take(_data: bytes) -> None:
        raise VaultError("the rows were refused")

    for sealer in (by_passphrase(), Recipients([str(IDENTITY.to_public())])):
        with pytest.raises(VaultError, match="was locked"):
            sealer.seal(broken(), io.BytesIO())
    for opener, data in ((by_passphrase(), sealed(b"x")), (Identities([str(IDENTITY)]), sealed_to_recipient(b"x"))):
        with pytest.raises(VaultError, match="were refused"):
            opener.open(io.BytesIO(data), take)


def test_a_backup_says_itself_what_opens_it(tmp_path: Path) -> None:
    for name, data, expected in (("p", sealed(b""), True), ("r", sealed_to_recipient(b""), False)):
        (tmp_path / name).write_bytes(data)
        assert opens_by_passphrase(tmp_path / name) is expected
    (tmp_path / "text").write_text("some text that is no backup at all")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BackupRefused):
        opens_by_passphrase(tmp_path / "text")


def test_what_cant_be_read_isnt_told_as_a_backup_that_isnt_whole(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", "pipe", "."):
        with pytest.raises(ImportRefused, match="can't be read"):
            opens_by_passphrase(tmp_path / name)


def test_an_identity_file_is_read_as_age_keygen_writes_it(tmp_path: Path) -> None:
    file = tmp_path / "key.txt"
    file.write_text(f"# created: 2026-11-20\n# public key: {IDENTITY.to_public()}\n{IDENTITY}\n")
    assert opened(Identities.read(file), sealed_to_recipient(b"data")) == b"data"


@pytest.mark.parametrize("text", ["", "# a comment\n", "AGE-SECRET-KEY-1NOTHING\n", "Übersicht"])
def test_a_file_without_an_identity_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key.txt"
    file.write_text(text)
    for path in (file, tmp_path / "missing"):
        with pytest.raises(ClawError):
            Identities.read(path)


def test_what_is_no_recipient_is_refused() -> None:
    for name in ("age1nothing", "", str(IDENTITY), "ssh-ed25519 AAAA"):
        with pytest.raises(VaultError, match="no recipient") as refused:
            Recipients([name])
        assert str(IDENTITY) not in refused.value.message
