"""The anchor's file: the newest whole record counts, whatever lies in the other places."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.processes import SmallDisk, fill, start_function
from vault import anchor as anchor_module
from vault.anchor import Anchor, AnchorRecord, LogHead
from vault.errors import HomeNotWritable, VaultError
from vault.pages import WalPosition

KEY = bytes(range(32))
HEAD = LogHead(5, bytes(32))
SLOT = 4096


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "vault.anchor"


@pytest.fixture
def anchor(file: Path) -> Iterator[Anchor]:
    anchor = Anchor(file, KEY)
    yield anchor
    anchor.close()


def write(anchor: Anchor, epoch: int, *, frames: int = 3) -> AnchorRecord:
    position = WalPosition(b"the salt", frames, 9)
    anchor.newest()  # as whoever holds the lock does first
    return anchor.write(epoch, position, HEAD, bytes([epoch]) * 32)


def reread(file: Path, key: bytes = KEY) -> AnchorRecord | None:
    again = Anchor(file, key)
    newest = again.newest()
    again.close()
    return newest


def test_a_new_anchor_knows_nothing(anchor: Anchor) -> None:
    assert anchor.newest() is None


def test_the_newest_record_is_told_whoever_wrote_it(file: Path, anchor: Anchor) -> None:
    other = Anchor(file, KEY)
    for epoch, writer in enumerate([anchor, anchor, other, other, anchor, other] * 3):
        record = write(writer, epoch)
        assert anchor.newest() == other.newest() == reread(file) == record
        assert record.epoch == epoch
        assert record.position == WalPosition(b"the salt", 3, 9)
        assert record.log == HEAD
    other.close()


def test_of_two_records_of_one_state_the_one_written_last_counts(file: Path, anchor: Anchor) -> None:
    """Wherever they say that the log ends: one was begun anew in between."""
    for frames in (9, 0, 4):
        record = write(anchor, 5, frames=frames)
        assert anchor.newest() == reread(file) == record


def test_it_is_readable_by_its_owner_alone(loose_umask: None, file: Path) -> None:
    Anchor(file, KEY).close()
    assert file.stat().st_mode & 0o777 == 0o600


def test_another_vaults_anchor_says_nothing(file: Path, anchor: Anchor) -> None:
    write(anchor, 1)
    assert reread(file, bytes(32)) is None


def test_a_record_proves_one_fingerprint_in_one_place_of_the_log(anchor: Anchor) -> None:
    record = write(anchor, 7)
    assert anchor.proves(record, bytes([7]) * 32)
    assert not anchor.proves(record, bytes(32))
    others = [
        record._replace(turn=record.turn + 1),
        record._replace(epoch=8),
        record._replace(position=record.position._replace(frames=4)),
        record._replace(position=record.position._replace(pages=10)),
        record._replace(position=record.position._replace(salts=b"another_")),
        record._replace(log=LogHead(6, HEAD.root)),
        record._replace(log=LogHead(5, bytes([1]) * 32)),
    ]
    assert not any(anchor.proves(other, bytes([7]) * 32) for other in others)


def test_any_altered_bit_of_a_record_makes_it_none(file: Path, anchor: Anchor) -> None:
    write(anchor, 1)
    whole = file.read_bytes()
    length = len(whole[:SLOT].rstrip(b"\0"))
    for bit in range(8 * length):
        altered = bytearray(whole)
        altered[bit // 8] ^= 1 << bit % 8
        file.write_bytes(altered)
        assert anchor.newest() is None
    file.write_bytes(whole)
    assert anchor.newest() is not None


def test_the_record_before_is_whole_until_the_next_one_is(file: Path, anchor: Anchor) -> None:
    """Whichever process wrote it."""
    other = Anchor(file, KEY)
    for epoch in range(1, 9):
        before = file.read_bytes()
        newest = anchor.newest()
        write((anchor, other)[epoch % 3 == 0], epoch)
        after = file.read_bytes()
        touched = {at // SLOT for at in range(len(after)) if before[at : at + 1] != after[at : at + 1]}
        if epoch == 1:
            continue
        assert len(touched) == 1
        torn = bytearray(after)
        torn[touched.pop() * SLOT + 20] ^= 1
        file.write_bytes(torn)
        assert reread(file) == newest
        file.write_bytes(after)
    other.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.binary(max_size=5 * SLOT) | st.binary(max_size=200).map(lambda data: b"OCANCHR1" + data))
def test_no_bytes_but_our_own_are_a_record(file: Path, anchor: Anchor, data: bytes) -> None:
    file.write_bytes(data)
    assert anchor.newest() is None
    record = write(anchor, 1)
    assert anchor.newest() == record
    record = write(anchor, 2)
    assert reread(file) == record


# The lock


def test_the_lock_is_one_holders_at_a_time_and_goes_with_a_killed_one(
    file: Path, anchor: Anchor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchor_module, "_LOCK_WITHIN_S", 0.01)
    with start_function(hold_the_lock, file) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(VaultError, match="Another program holds") as refused, anchor.alone():
            pytest.fail("two held the lock")
        assert refused.value.hint
        holder.kill()
    assert holder.returncode == -signal.SIGKILL
    with anchor.alone():
        other = Anchor(file, KEY)
        with pytest.raises(VaultError, match="Another program holds"), other.alone():
            pytest.fail("two held the lock")
    with other.alone():
        pass
    other.close()


def hold_the_lock(file: str) -> None:
    with Anchor(Path(file), KEY).alone():
        print("held", flush=True)
        signal.pause()


# Disks


def test_a_disk_that_fills_up_has_room_for_the_anchor_still(small_disk: SmallDisk) -> None:
    small_disk.run("64k", write_on_a_full_disk)


def write_on_a_full_disk(folder: str) -> None:
    file = Path(folder) / "vault.anchor"
    anchor = Anchor(file, KEY)
    write(anchor, 1)
    fill(Path(folder))
    for epoch in range(2, 6):
        record = write(anchor, epoch)
        assert reread(file) == anchor.newest() == record
    anchor.close()


def test_an_anchor_that_can_not_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(VaultError, match="can't be written"):
        Anchor(tmp_path / "folder", KEY)
    if os.geteuid() == 0:
        return
    tmp_path.chmod(0o500)
    with pytest.raises(HomeNotWritable, match="can't be written"):
        Anchor(tmp_path / "vault.anchor", KEY)
