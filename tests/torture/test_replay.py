"""The model of a disk whose power is cut."""

from pathlib import Path

import pytest

from tests.torture.recorder import Event, Operation
from tests.torture.replay import Disk, Point, Snapshot, replayed, spread

ROOT = Path("/root")
SEEDS = range(200)


def event(
    operation: Operation, path: str, *, inode: int = 0, offset: int = 0, data: bytes = b"", to: str = ""
) -> Event:
    return Event(operation, inode, offset, f"{ROOT}/{path}".rstrip("/"), f"{ROOT}/{to}" if to else "", data)


def create(path: str, inode: int) -> Event:
    return event(Operation.CREATE, path, inode=inode)


def write(inode: int, data: bytes, offset: int = 0) -> Event:
    return event(Operation.WRITE, "", inode=inode, offset=offset, data=data)


def sync(inode: int) -> Event:
    return event(Operation.SYNC, "", inode=inode)


SYNC_ROOT = event(Operation.SYNC_FOLDER, "")
OLD = Snapshot({1: (b"old" * 1000, ["file"])}, ["folder"])


def outcomes(*events: Event, before: Snapshot = OLD) -> list[dict[str, bytes | None]]:
    """Everything that may be there when the power is cut after these events."""
    (disk,) = replayed(before, ROOT, events, [Point(len(events), 0)])
    return [disk.after_cut(seed) for seed in SEEDS]


def test_what_was_there_before_is_there() -> None:
    assert all(found == {"folder": None, "file": b"old" * 1000} for found in outcomes())


def test_a_synced_write_is_there_and_an_unsynced_one_may_be() -> None:
    synced = outcomes(write(1, b"new"), sync(1))
    assert all(found["file"] == b"new" + (b"old" * 1000)[3:] for found in synced)
    unsynced = {found["file"] for found in outcomes(write(1, b"new"))}
    assert unsynced == {b"old" * 1000, b"new" + (b"old" * 1000)[3:]}


def test_a_later_write_may_be_there_without_an_earlier_one() -> None:
    found = {state["file"] for state in outcomes(write(1, b"AAA", 0), write(1, b"BBB", 1200))}
    assert {(content[:3], content[1200:1203]) for content in found if content} == {
        (one, other) for one in (b"old", b"AAA") for other in (b"old", b"BBB")
    }


def test_a_write_is_torn_at_sectors_alone() -> None:
    torn = {state["file"] for state in outcomes(write(1, b"x" * 2000, 100))}
    assert len(torn) > 4
    for content in torn:
        assert content is not None
        edges = [at for at in range(1, 3000) if (content[at] == 120) != (content[at - 1] == 120)]
        assert all(at in {100, 2100} or at % 512 == 0 for at in edges)


def test_a_file_grows_only_as_far_as_its_writes_got() -> None:
    lengths = {len(state["file"] or b"") for state in outcomes(write(1, b"x", 4000), write(1, b"x", 5000))}
    assert lengths == {3000, 4001, 5001}


def test_a_new_size_may_or_may_not_have_reached_the_disk() -> None:
    shrink = event(Operation.RESIZE, "file", inode=1, offset=10)
    assert {len(state["file"] or b"") for state in outcomes(shrink)} == {10, 3000}
    assert {len(state["file"] or b"") for state in outcomes(shrink, sync(1))} == {10}


def test_syncing_a_file_does_not_make_its_name_durable() -> None:
    made = [create("new", 2), write(2, b"content"), sync(2)]
    assert {state.get("new") for state in outcomes(*made)} == {None, b"content"}
    assert {state.get("new") for state in outcomes(*made, SYNC_ROOT)} == {b"content"}


def test_names_change_in_order_within_a_folder() -> None:
    found = outcomes(create("first", 2), create("second", 3), event(Operation.UNLINK, "file"))
    assert {("first" in state, "second" in state, "file" in state) for state in found} == {
        (False, False, True),
        (True, False, True),
        (True, True, True),
        (True, True, False),
    }


def test_folders_do_not_wait_for_each_other() -> None:
    found = outcomes(create("first", 2), create("folder/second", 3))
    assert {("first" in state, "folder/second" in state) for state in found} == {
        (one, other) for one in (False, True) for other in (False, True)
    }


def test_a_rename_is_whole_or_has_not_happened() -> None:
    made = [create("staged", 2), write(2, b"new"), sync(2), SYNC_ROOT]
    found = outcomes(*made, event(Operation.RENAME, "staged", to="file"))
    assert {(state.get("staged"), state["file"]) for state in found} == {(b"new", b"old" * 1000), (None, b"new")}


def test_a_rename_between_folders_is_durable_when_either_was_synced() -> None:
    rename = event(Operation.RENAME, "file", to="folder/file")
    for synced in ("", "folder"):
        (state, *others) = outcomes(rename, event(Operation.SYNC_FOLDER, synced))
        assert state == {"folder": None, "folder/file": b"old" * 1000}
        assert all(other == state for other in others)


def test_a_folder_that_was_renamed_takes_its_files_along() -> None:
    events = [
        event(Operation.MKDIR, "staging"),
        create("staging/inside", 2),
        write(2, b"content"),
        sync(2),
        event(Operation.SYNC_FOLDER, "staging"),
        event(Operation.RENAME, "staging", to="final"),
    ]
    assert {state.get("final/inside") for state in outcomes(*events)} == {None, b"content"}
    assert all(state["final/inside"] == b"content" for state in outcomes(*events, SYNC_ROOT))


def test_what_a_failed_sync_should_have_written_may_be_lost_for_good() -> None:
    failed = event(Operation.SYNC_FAILED, "file", inode=1)
    found = {state["file"] for state in outcomes(write(1, b"AAA"), failed, sync(1), write(1, b"BBB", 3), sync(1))}
    assert found == {start + b"BBB" + (b"old" * 1000)[6:] for start in (b"AAA", b"old")}


def test_the_same_seed_gives_the_same_disk() -> None:
    events = [write(1, b"x" * 2000, 100 * at) for at in range(10)]
    assert outcomes(*events) == outcomes(*events)


def test_a_trace_that_speaks_of_an_unknown_file_is_not_believed() -> None:
    with pytest.raises(LookupError):
        Disk(OLD, ROOT).apply(write(7, b"whose?"))


def test_points_are_spread_from_the_first_event_to_the_last() -> None:
    points = spread(100, 11, 1)
    assert [point.cut for point in points] == list(range(0, 101, 10))
    assert points == spread(100, 11, 1) != spread(100, 11, 2)
