"""What somebody who has the database's key may do to the log: each is found, and named."""

import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.vault.log.kept import START_MS, Kept, entry
from tlog.merkle import Frontier, Head, leaf_hash
from tlog.note import Checkpoint, Signer
from vault.classes import TopSecret
from vault.database import Connection
from vault.errors import LogDamaged
from vault.log.checkpoint import signer_of
from vault.log.entries import Body, commit, encode
from vault.notifications import LogVerificationFailed, Notifications

FORGED = encode(Body(7, START_MS + 8000, entry("nothing to see here", sensitive=True)))


def found(kept: Kept, remembered: tuple[Head, ...] = ()) -> str:
    """What `verify` names; another process finds the same."""
    with pytest.raises(LogDamaged) as here:
        kept.log.verify(remembered)
    kept.reopen()
    with pytest.raises(LogDamaged) as there:
        kept.log.verify(remembered)
    assert here.value.exit_code == 6
    assert here.value.hint
    assert here.value.message == there.value.message
    return here.value.message


def rewrite(connection: Connection, *, roots: bool = True, frontier: bool = True) -> Head:
    """Recompute what follows from the leaves that are there, as an attacker would who knows how it is done."""
    tree = Frontier()
    for seq, commitment in connection.execute("SELECT seq, commitment FROM log_entries ORDER BY seq").fetchall():
        tree.append(leaf_hash(commitment))
        if roots:
            connection.execute("UPDATE log_entries SET root = ? WHERE seq = ?", (tree.root, seq))
    if frontier:
        connection.execute("UPDATE log_state SET size = ?, frontier = ?", (tree.size, tree.to_bytes()))
    return tree.head


def forge(connection: Connection) -> None:
    """Put another entry in the place of one, with a commitment that it opens."""
    salt = bytes(32)
    connection.execute(
        "UPDATE log_entries SET salt = ?, body = ?, commitment = ? WHERE seq = 7",
        (salt, FORGED, commit(salt, FORGED)),
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("body = CAST(replace(body, 'model 7', 'model 8') AS BLOB)", "Entry 7 was changed."),
        ("body = CAST(body || ' ' AS BLOB)", "Entry 7 was changed."),
        ("body = x''", "Entry 7 was changed."),
        ("salt = randomblob(32)", "Entry 7 was changed."),
        ("salt = CAST(salt || x'00' AS BLOB)", "Entry 7 was changed."),
        ("commitment = randomblob(32)", "Entry 7 was changed."),
        ("commitment = x'00'", "Entry 7 was changed."),
        ("at_ms = at_ms + 1", "The time of entry 7 was changed."),
        ("at_ms = NULL", "The time of entry 7 was changed."),
        ("sensitive = 0", "How long entry 7 is kept was changed."),
        ("root = randomblob(32)", "Entry 7 isn't what was logged in its place: the tree's head there was another."),
        ("body = NULL", "Entry 7 was changed."),
        ("salt = NULL", "Entry 7 was changed."),
        ("body = NULL, salt = NULL, at_ms = NULL", "Entry 7 was emptied, though the older entry 1 is still kept."),
        ("body = NULL, salt = NULL", "Entry 7 was emptied, though the older entry 1 is still kept."),
    ],
)
def test_an_edited_entry_is_named(filled: Kept, change: str, named: str) -> None:
    filled.sql(f"UPDATE log_entries SET {change} WHERE seq = 7")
    assert found(filled) == named


def test_the_person_is_notified_once_of_a_log_that_is_not_whole(filled: Kept) -> None:
    told = Notifications(filled.database)
    filled.log.verify()
    assert told.unseen() == []
    filled.sql("DELETE FROM log_entries WHERE seq = 7")
    for _ in range(2):
        with pytest.raises(LogDamaged):
            filled.log.verify()
    assert [notification.event for notification in told.unseen()] == [LogVerificationFailed()]


def test_the_first_of_several_things_is_named(filled: Kept) -> None:
    filled.sql("UPDATE log_entries SET salt = randomblob(32) WHERE seq IN (5, 12)", "DELETE FROM log_state")
    assert found(filled) == "Entry 5 was changed."


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        ("= 0", "Entry 0 is missing."),
        ("= 7", "Entry 7 is missing."),
        ("BETWEEN 7 AND 9", "Entries 7 to 9 are missing."),
        ("= 19", "The log was cut: 19 entries are there, the checkpoint says 20."),
        ("> 0", "The log was cut: 1 entry is there, the checkpoint says 20."),
        (">= 0", "The log was cut: 0 entries are there, the checkpoint says 20."),
    ],
)
def test_deleted_entries_are_named(filled: Kept, gone: str, named: str) -> None:
    filled.sql(f"DELETE FROM log_entries WHERE seq {gone}")
    assert found(filled) == named


def test_a_gap_that_was_closed_is_found(filled: Kept) -> None:
    filled.sql(
        "DELETE FROM log_entries WHERE seq = 7",
        *(f"UPDATE log_entries SET seq = {n - 1} WHERE seq = {n}" for n in range(8, 20)),
    )
    filled.database.write(rewrite)
    assert found(filled) == "Entry 7 says that it is entry 8."


def test_an_entry_moved_into_the_place_of_another_is_found(filled: Kept) -> None:
    filled.sql("DELETE FROM log_entries WHERE seq = 7", "UPDATE log_entries SET seq = 7 WHERE seq = 12")
    assert found(filled) == "Entry 7 says that it is entry 12."


def test_only_what_is_sure_is_said_of_places(filled: Kept) -> None:
    filled.swap(7, 8)
    filled.sql("UPDATE log_entries SET salt = randomblob(32) WHERE seq = 8")
    assert found(filled) == "Entry 7 says that it is entry 8."


def test_an_entry_emptied_with_none_before_it_is_found(filled: Kept) -> None:
    filled.sql("UPDATE log_entries SET body = NULL, salt = NULL WHERE seq = 0")
    assert found(filled) == "Entry 0 was emptied, though not by its retention."


@pytest.mark.parametrize(("one", "other"), [(7, 8), (0, 19), (3, 12)])
def test_entries_that_changed_places_are_named(filled: Kept, one: int, other: int) -> None:
    filled.swap(one, other)
    assert found(filled) == f"Entries {one} and {other} changed places."


def test_changed_places_are_found_although_everything_was_recomputed(filled: Kept) -> None:
    filled.swap(7, 8)
    filled.database.write(rewrite)
    assert found(filled) == "Entries 7 and 8 changed places."


def test_three_that_changed_places_are_found(filled: Kept) -> None:
    filled.swap(7, 8)
    filled.swap(8, 9)
    assert found(filled) == "Entry 7 says that it is entry 8."


def test_changed_places_among_cleared_entries_are_found(filled: Kept) -> None:
    filled.database.write(lambda c: filled.log.expire(c, START_MS + 10_000))
    filled.swap(3, 6)
    assert found(filled).startswith("Entry 3 isn't what was logged in its place")


def test_an_entry_put_in_between_is_found(filled: Kept) -> None:
    filled.sql(
        *(f"UPDATE log_entries SET seq = {n + 1} WHERE seq = {n}" for n in range(19, 6, -1)),
        "INSERT INTO log_entries (seq, at_ms, sensitive, commitment, root, salt, body) "
        "SELECT 7, at_ms, sensitive, commitment, root, salt, body FROM log_entries WHERE seq = 6",
    )
    assert found(filled) == "Entry 7 says that it is entry 6."


def test_an_entry_added_behind_the_logs_back_is_found(filled: Kept) -> None:
    filled.sql(
        "INSERT INTO log_entries SELECT 20, NULL, 2, commitment, root, NULL, NULL FROM log_entries WHERE seq = 6"
    )
    assert found(filled).startswith("Entry 20 isn't what was logged in its place")
    filled.database.write(rewrite)
    assert found(filled) == "The checkpoint is older than the log: 21 entries are there, the checkpoint says 20."


def test_an_entry_exchanged_with_its_commitment_is_found(filled: Kept) -> None:
    filled.database.write(forge)
    assert found(filled).startswith("Entry 7 isn't what was logged in its place")


def test_an_entry_exchanged_with_everything_that_follows_is_found_by_the_signature(filled: Kept) -> None:
    filled.database.write(forge)
    filled.database.write(rewrite)
    assert found(filled) == "The checkpoint was signed for other entries than those that are there."


def test_an_entry_that_no_version_wrote_is_found(filled: Kept) -> None:
    def nonsense(connection: Connection) -> None:
        connection.execute(
            "UPDATE log_entries SET salt = ?, body = ?, commitment = ? WHERE seq = 7",
            (bytes(32), b"{}", commit(bytes(32), b"{}")),
        )

    filled.database.write(nonsense)
    assert [item.seq for item in filled.log.entries() if item.unreadable] == [7]
    assert found(filled).startswith("Entry 7 can't be read")


# Truncation with what belongs to it


def state(kept: Kept) -> tuple[object, ...]:
    row = kept.database.read(lambda c: c.execute("SELECT size, frontier, checkpoint FROM log_state").fetchone())
    assert row
    return row


def test_a_log_cut_back_to_an_old_checkpoint_is_found_by_the_head_remembered_outside(kept: Kept) -> None:
    kept.fill(12)
    old = state(kept)
    kept.fill(8)
    remembered = kept.log.verify().head

    def cut(connection: Connection) -> None:
        connection.execute("DELETE FROM log_entries WHERE seq >= 12")
        connection.execute("UPDATE log_state SET size = ?, frontier = ?, checkpoint = ?", old)  # type: ignore[arg-type]

    kept.database.write(cut)
    assert kept.log.verify().head.size == 12  # the log by itself can't know
    assert found(kept, (remembered,)) == "The log was cut: 12 entries are there, 20 were remembered outside it."

    kept.fill(15)  # and has grown again since
    assert kept.log.verify().head.size == 27
    assert found(kept, (remembered,)) == (
        "The first 20 entries aren't those whose head was remembered outside the log."
    )


def test_a_log_that_was_removed_is_found(filled: Kept) -> None:
    remembered = filled.log.verify().head
    filled.sql("DELETE FROM log_entries", "DELETE FROM log_state")
    assert found(filled) == "The log's checkpoint is missing; 0 entries are there."
    filled.sql("DELETE FROM secrets")
    assert filled.log.verify().head.size == 0  # as if nothing had ever been logged
    assert found(filled, (remembered,)) == "The log was cut: 0 entries are there, 20 were remembered outside it."


def test_a_missing_checkpoint_is_found(filled: Kept) -> None:
    filled.sql("DELETE FROM log_state")
    assert found(filled) == "The log's checkpoint is missing; 20 entries are there."


# Forged checkpoints


def nothing(_: Kept) -> str:
    return ""


def cut_off(kept: Kept) -> str:
    return kept.log.checkpoint()[:-1]


def other_size(kept: Kept) -> str:
    return kept.log.checkpoint().replace("\n20\n", "\n19\n")


def other_key(kept: Kept) -> str:
    signer = signer_of(TopSecret(bytes(32)))
    return signer.sign(str(Checkpoint(signer.verifier.name, kept.log.verify().head)))


def other_key_same_name(kept: Kept) -> str:
    signer = Signer(Ed25519PrivateKey.from_private_bytes(bytes(32)), kept.log.verify().origin)
    return signer.sign(str(Checkpoint(signer.verifier.name, kept.log.verify().head)))


def other_signature(kept: Kept) -> str:
    note = kept.log.checkpoint()
    at = len(note) - 20
    return note[:at] + ("A" if note[at] != "A" else "B") + note[at + 1 :]


def signed_by_the_device(text: str) -> Callable[[Kept], str]:
    """By its own key, which whoever only has the database's doesn't get at."""

    def make(kept: Kept) -> str:
        signer = kept.database.read(kept.log._load_signer)
        assert signer
        root = base64.b64encode(kept.log.verify().head.root).decode()
        return signer.sign(text.format(origin=signer.verifier.name, root=root))

    return make


@pytest.mark.parametrize(
    ("forged", "named"),
    [
        (other_size, "The checkpoint's signature is false: the checkpoint was altered."),
        (other_signature, "The checkpoint's signature is false: the checkpoint was altered."),
        (other_key, "The checkpoint isn't signed by that key."),
        (other_key_same_name, "The checkpoint isn't signed by that key."),
        (nothing, "The checkpoint is no signed note."),
        (cut_off, "The checkpoint is no signed note."),
        (signed_by_the_device("a letter\n"), "What is signed is no checkpoint of a log."),
        (signed_by_the_device("another\n20\n{root}\n"), "The checkpoint is another log's: another."),
        (
            signed_by_the_device("{origin}\n20\n{root}\nand more\n"),
            "The checkpoint was signed for other entries than those that are there.",
        ),
    ],
)
def test_a_forged_checkpoint_is_found(filled: Kept, forged: Callable[[Kept], str], named: str) -> None:
    note = forged(filled)
    filled.database.write(lambda c: c.execute("UPDATE log_state SET checkpoint = ?", (note,)))
    assert found(filled) == named


@pytest.mark.parametrize(
    "change", ["size = 19", "frontier = zeroblob(64)", "frontier = x''", "size = 19, frontier = zeroblob(96)"]
)
def test_a_false_frontier_is_found_and_not_built_upon_unnoticed(filled: Kept, change: str) -> None:
    filled.sql(f"UPDATE log_state SET {change}")
    assert found(filled).startswith("The log's frontier isn't that of its entries")


def test_a_log_that_can_not_grow_any_more_is_damaged(filled: Kept) -> None:
    filled.sql("UPDATE log_state SET size = 9223372036854775807, frontier = zeroblob(63 * 32)")
    with pytest.raises(LogDamaged, match="none could be added"):
        filled.log.append(entry("more"))
    assert found(filled).startswith("The log was cut: 20 entries are there")
