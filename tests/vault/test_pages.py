"""The fingerprint of all pages: the same however it is computed, and another for any other page."""

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.fixtures.databases import KEY, PAGE, read_frames
from vault.connection import Connection, connect
from vault.descriptors import Descriptors
from vault.pages import Pages, WalPosition

PAGES_KEY = bytes(32)


@pytest.fixture
def connection(path: Path) -> Iterator[Connection]:
    """A connection to a database with one table, without a guard."""
    connection = connect(path, KEY)
    connection.execute("CREATE TABLE kept (n INTEGER PRIMARY KEY, text TEXT)")
    yield connection
    connection.close()


@pytest.fixture
def descriptors(path: Path, connection: Connection) -> Iterator[Descriptors]:
    descriptors = Descriptors(path)
    yield descriptors
    connection.close()
    descriptors.close()


def scanned(path: Path, descriptors: Descriptors, moment: WalPosition | None = None) -> Pages:
    """The pages as somebody finds them who opens the database now."""
    pages = Pages(path, PAGES_KEY, descriptors)
    assert pages.scan(moment or pages.current())
    return pages


def write(connection: Connection, random: Random) -> None:
    """One step of use."""
    match random.choice(["insert", "insert", "big", "delete", "update", "vacuum", "fold", "truncate", "rollback"]):
        case "insert":
            connection.execute("INSERT INTO kept (text) VALUES (?)", ("x" * random.randrange(3000),))
        case "big":
            connection.execute("INSERT INTO kept (text) VALUES (?)", ("x" * random.randrange(300_000),))
        case "delete":
            connection.execute("DELETE FROM kept WHERE n % 3 = ?", (random.randrange(3),))
        case "update":
            connection.execute("UPDATE kept SET text = text || 'y' WHERE n % 2 = 0")
        case "vacuum":
            connection.execute("VACUUM")
        case "fold":
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        case "truncate":
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        case "rollback":
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO kept (text) VALUES (?)", ("x" * 300_000,))
            connection.execute("ROLLBACK")


@pytest.mark.parametrize("seed", range(8))
def test_following_each_transaction_comes_to_what_a_scan_of_everything_finds(
    path: Path, connection: Connection, descriptors: Descriptors, seed: int
) -> None:
    random = Random(seed)
    following = scanned(path, descriptors)
    for _ in range(40):
        write(connection, random)
        following.follow()
        found = scanned(path, descriptors)
        assert (following.fingerprint, following.position) == (found.fingerprint, found.position)


@pytest.mark.parametrize("seed", range(4))
def test_an_earlier_moment_is_found_again_until_a_later_one_is_folded_into_the_file(
    path: Path, connection: Connection, descriptors: Descriptors, seed: int
) -> None:
    random = Random(seed)
    following = scanned(path, descriptors)
    moments: list[tuple[WalPosition, bytes]] = []
    for _ in range(40):
        salts = following.position.salts
        write(connection, random)
        following.follow()
        if following.position.salts != salts:
            del moments[:]
        moments.append((following.position, following.fingerprint))
        connection.execute("SELECT count(*) FROM kept").fetchone()
        for position, fingerprint in moments[-5:]:
            if position.frames >= folded(path):
                assert scanned(path, descriptors, position).fingerprint == fingerprint


def folded(path: Path) -> int:
    """How many frames of the log are in the file already (the wal-index' `nBackfill`)."""
    return int.from_bytes(path.with_name("vault.db-shm").read_bytes()[96:100], "little")


def test_folding_the_log_into_the_file_changes_nothing(
    path: Path, connection: Connection, descriptors: Descriptors
) -> None:
    connection.execute("INSERT INTO kept (text) VALUES (?)", ("x" * 100_000,))
    before = scanned(path, descriptors)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    after = scanned(path, descriptors)
    assert after.fingerprint == before.fingerprint
    assert after.position.frames == 0 < before.position.frames
    assert scanned(path, descriptors, before.position).fingerprint == before.fingerprint


def test_transactions_are_counted_and_what_was_rolled_back_is_none(
    path: Path, connection: Connection, descriptors: Descriptors
) -> None:
    pages = scanned(path, descriptors)
    assert pages.follow()[0] == 0
    insert = "INSERT INTO kept (text) VALUES (?)"
    for count in range(4):
        for _ in range(count):
            connection.execute(insert, ("x" * 5000,))
        assert pages.follow()[0] == count
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for end, count in (("ROLLBACK", 0), ("COMMIT", 1)):
        connection.execute("BEGIN IMMEDIATE")
        for n in range(300):
            connection.execute(insert, (str(n) * 1000,))
        connection.execute(end)
        assert pages.follow()[0] == count


def test_advancing_comes_to_the_same_and_says_when_it_can_not(
    path: Path, connection: Connection, descriptors: Descriptors
) -> None:
    behind, following = scanned(path, descriptors), scanned(path, descriptors)
    start = following.position
    for n in range(3):
        connection.execute("INSERT INTO kept (text) VALUES (?)", (f"{n}" * 5000,))
        following.follow()
    assert behind.advance(following.position)
    assert behind.fingerprint == following.fingerprint
    assert not behind.advance(start)  # that is earlier
    assert not behind.advance(following.position._replace(frames=following.position.frames + 1))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert not behind.advance(following.position)  # that log is gone


def test_files_that_do_not_reach_back_to_a_moment_say_so(
    path: Path, connection: Connection, descriptors: Descriptors
) -> None:
    pages = scanned(path, descriptors)
    now = pages.position
    assert not pages.scan(now._replace(frames=now.frames + 1))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert pages.scan(now)
    with path.open("ab") as file:
        file.write(bytes(100))
    assert not pages.scan(now)
    os.truncate(path, (now.pages - 1) * PAGE)
    assert not pages.scan(now)


def test_every_version_and_place_of_a_page_counts(
    path: Path, connection: Connection, descriptors: Descriptors
) -> None:
    connection.execute("INSERT INTO kept (text) VALUES (?)", ("x" * 100_000,))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    right = scanned(path, descriptors).fingerprint
    whole = path.read_bytes()
    assert Pages(path, bytes(range(32)), descriptors).scan(scanned(path, descriptors).position)
    swapped = whole[:PAGE] + whole[2 * PAGE : 3 * PAGE] + whole[PAGE : 2 * PAGE] + whole[3 * PAGE :]
    altered = [swapped]
    for page in range(len(whole) // PAGE):
        for at in (PAGE - 80, PAGE - 1):  # what SQLCipher authenticates all else of the page with
            one = bytearray(whole)
            one[page * PAGE + at] ^= 1
            altered.append(bytes(one))
        altered.append(whole[: page * PAGE] + bytes(PAGE) + whole[(page + 1) * PAGE :])
    found = set()
    for content in altered:
        path.write_bytes(content)
        found.add(scanned(path, descriptors).fingerprint)
    assert right not in found
    assert len(found) == len(altered)


def test_another_key_makes_another_fingerprint(
    path: Path, connection: Connection, descriptors: Descriptors
) -> None:
    other = Pages(path, bytes(range(32)), descriptors)
    assert other.scan(other.current())
    assert other.fingerprint != scanned(path, descriptors).fingerprint


def test_a_page_that_was_never_written_counts_for_nothing_wherever_the_file_ends(
    path: Path, connection: Connection, descriptors: Descriptors
) -> None:
    """SQLite leaves one out at 1 GiB: it lies beyond the file, and is a hole once later pages are folded in."""
    connection.execute("INSERT INTO kept (text) VALUES (?)", ("x" * 20_000,))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    pages = scanned(path, descriptors)
    short = WalPosition(pages.position.salts, 0, pages.position.pages + 2)
    os.truncate(path, short.pages * PAGE)
    assert scanned(path, descriptors, short).fingerprint == pages.fingerprint


def test_a_file_that_was_replaced_is_not_in_place(
    path: Path, connection: Connection, descriptors: Descriptors
) -> None:
    pages = scanned(path, descriptors)
    found = [pages.in_place]
    path.with_name("other").write_bytes(path.read_bytes())
    path.with_name("other").replace(path)
    found.append(pages.in_place)
    path.unlink()
    found.append(pages.in_place)
    assert found == [True, False, False]


def test_frames_read_by_hand_are_those_in_effect(
    path: Path, connection: Connection, descriptors: Descriptors
) -> None:
    """The test's own reader of logs, which the attacks are made with, agrees with SQLite's index."""
    frames = read_frames(path.with_name("vault.db-wal"))
    assert len(frames) == scanned(path, descriptors).position.frames
    assert frames[-1].pages_after_commit == scanned(path, descriptors).position.pages
