"""The log in its vault: what is logged is there, signed and provable, together with what it tells of."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vault.log.kept import DAY_MS, KEY, START_MS, Clock, Kept, entry
from tlog.merkle import EMPTY_ROOT, Head, leaf_hash, root_of, verify_consistency, verify_inclusion
from tlog.note import Checkpoint
from vault.database import Connection, Database
from vault.errors import DatabaseDamaged, LogDamaged, NotFound
from vault.log import TransparencyLog
from vault.log.transparency import SIGNING_KEY


def head_of(log: TransparencyLog) -> Head:
    verifier = log.verifier()
    assert verifier
    return Checkpoint.parse(verifier.open(log.checkpoint())).head


def test_an_empty_log_is_whole_and_has_no_key_yet(kept: Kept) -> None:
    assert kept.log.verify() == ("", Head(0, EMPTY_ROOT), 0)
    assert kept.log.checkpoint() == ""
    assert kept.log.verifier() is None
    assert kept.log.entries() == []
    with pytest.raises(NotFound):
        kept.log.export(io.BytesIO())


def test_what_is_logged_is_listed_the_newest_first(kept: Kept) -> None:
    assert [kept.log.append(entry(purpose)) for purpose in ("one", "two", "three")] == [0, 1, 2]
    listed = kept.log.entries()
    assert [(item.seq, item.entry and item.entry.purpose) for item in listed] == [
        (2, "three"),
        (1, "two"),
        (0, "one"),
    ]
    assert listed[2].at_ms == START_MS + 1000
    assert kept.log.entry(1) == listed[1]


def test_entries_are_chosen_by_number_time_and_words(filled: Kept) -> None:
    assert [item.seq for item in filled.log.entries(3)] == [19, 18, 17]
    assert [item.seq for item in filled.log.entries(since_ms=START_MS + 19_000)] == [19, 18]
    assert [item.seq for item in filled.log.entries(2, matching="MODEL 1")] == [19, 18]
    assert filled.log.entries(matching="nothing of the kind") == []
    assert filled.log.entries(0) == []


@pytest.mark.parametrize("seq", [-1, 20])
def test_an_entry_that_is_not_there_is_not_found(filled: Kept, seq: int) -> None:
    with pytest.raises(NotFound):
        filled.log.entry(seq)
    with pytest.raises(NotFound):
        filled.log.inclusion_proof(seq)


def test_a_whole_log_verifies_and_its_head_is_signed(filled: Kept) -> None:
    verified = filled.log.verify()
    assert (verified.head, verified.cleared) == (head_of(filled.log), 0)
    assert verified.origin.startswith("openclaw-core/device/")
    leaves = filled.database.read(
        lambda c: [leaf_hash(row[0]) for row in c.execute("SELECT commitment FROM log_entries ORDER BY seq")]
    )
    assert verified.head == Head(20, root_of(leaves))


def test_a_long_verification_tells_how_far_it_is(kept: Kept) -> None:
    kept.database.write(lambda c: [kept.log.record(c, entry("x")) for _ in range(2_100)])
    told: list[tuple[int, int]] = []
    kept.log.verify(progress=lambda done, total: told.append((done, total)))
    assert told == [(1000, 2100), (2000, 2100)]


def test_another_process_goes_on_with_the_same_key(filled: Kept) -> None:
    verifier, before = filled.log.verifier(), head_of(filled.log)
    filled.reopen()
    assert filled.log.append(entry("later")) == 20
    assert filled.log.verifier() == verifier
    assert filled.log.verify([before]).head.size == 21


def test_two_processes_append_to_one_log(filled: Kept) -> None:
    other = Database.open(filled.path, KEY)
    second = TransparencyLog(other)
    assert [log.append(entry("turns")) for log in (second, filled.log, second, filled.log)] == [20, 21, 22, 23]
    other.close()
    assert filled.log.verify().head.size == 24


def test_an_entry_is_logged_with_what_it_tells_of_or_not_at_all(kept: Kept) -> None:
    def fail(connection: Connection) -> None:
        kept.log.record(connection, entry("never"))
        kept.log.record(connection, entry("happened"))
        raise RuntimeError("the work failed")

    for _ in range(2):
        with pytest.raises(RuntimeError):
            kept.database.write(fail)
        assert kept.log.verify().head.size == 0
    # The key that was made in the transaction is gone with it; a new one signs.
    assert kept.log.append(entry("done")) == 0
    assert kept.log.verify().head.size == 1


def test_several_entries_of_one_transaction_follow_each_other(kept: Kept) -> None:
    assert kept.database.write(lambda c: [kept.log.record(c, entry(str(n))) for n in range(5)]) == list(range(5))
    assert kept.log.verify().head.size == 5


def test_an_entry_that_could_not_be_read_again_is_refused(filled: Kept) -> None:
    with pytest.raises(ValueError):
        filled.log.append(entry("x" * 10_001))
    assert filled.log.verify().head.size == 20


def test_every_entry_is_proved_part_of_the_signed_head(filled: Kept) -> None:
    signed = head_of(filled.log)
    for seq in range(20):
        proof = filled.log.inclusion_proof(seq)
        assert proof.head == signed
        assert verify_inclusion(proof.leaf, seq, proof.path, signed)


def test_every_earlier_head_is_proved_the_beginning_of_the_log(kept: Kept) -> None:
    heads = []
    for number in range(12):
        kept.log.append(entry(str(number)))
        heads.append(head_of(kept.log))
    for head in heads:
        assert verify_consistency(head, heads[-1], kept.log.consistency_proof(head.size))
    assert kept.log.verify(heads).head == heads[-1]
    with pytest.raises(NotFound, match="never had 13"):
        kept.log.consistency_proof(13)


def test_no_proof_is_given_for_entries_that_are_not_the_logs(filled: Kept) -> None:
    filled.sql("UPDATE log_entries SET commitment = zeroblob(32) WHERE seq = 3")
    with pytest.raises(LogDamaged, match="log's head"):
        filled.log.inclusion_proof(7)


def test_the_signing_key_is_kept_sealed(filled: Kept) -> None:
    sealed = filled.database.read(
        lambda c: c.execute("SELECT value FROM secrets WHERE name = ?", (SIGNING_KEY,)).fetchone()
    )
    assert sealed
    seed = filled.database.fields.open("secrets", SIGNING_KEY, "value", sealed[0]).reveal()
    assert len(seed) == 32
    assert seed not in sealed[0]
    assert seed.hex() not in repr(vars(filled.log))


def test_a_key_sealed_anew_is_the_same_key(filled: Kept) -> None:
    filled.database.fields.epoch += 1
    before = filled.log.verifier()

    def seal_again(connection: Connection) -> None:
        fields = filled.database.fields
        row = connection.execute("SELECT value FROM secrets").fetchone()
        assert row
        seed = fields.open("secrets", SIGNING_KEY, "value", row[0])
        connection.execute("UPDATE secrets SET value = ?", (fields.seal("secrets", SIGNING_KEY, "value", seed),))

    filled.database.write(seal_again)
    filled.log.append(entry("after"))
    assert filled.log.verifier() == before
    assert filled.log.verify().head.size == 21


def test_a_log_that_lost_its_key_is_not_gone_on_with_by_another(filled: Kept) -> None:
    filled.sql("DELETE FROM secrets")
    with pytest.raises(LogDamaged, match="key that signs the log is missing"):
        filled.log.append(entry("more"))
    with pytest.raises(LogDamaged, match="key that signs the log is missing"):
        filled.log.verify()


def test_an_altered_key_is_refused(filled: Kept) -> None:
    filled.sql("UPDATE secrets SET value = CAST(value || x'00' AS BLOB)")
    with pytest.raises(DatabaseDamaged, match="altered"):
        filled.log.append(entry("more"))


# Retention


def cleared(kept: Kept) -> list[int]:
    return [item.seq for item in reversed(kept.log.entries()) if item.entry is None]


def expire(kept: Kept, before_ms: int, sensitive: bool | None = None) -> int:
    return kept.database.write(lambda c: kept.log.expire(c, before_ms, sensitive))


def test_what_entries_say_goes_and_every_proof_stays(filled: Kept) -> None:
    signed = head_of(filled.log)
    assert expire(filled, START_MS + 10_001) == 10
    assert cleared(filled) == list(range(10))
    rows = filled.database.read(
        lambda c: c.execute("SELECT at_ms, salt, body FROM log_entries WHERE seq < 10").fetchall()
    )
    assert set(rows) == {(None, None, None)}
    assert filled.log.verify([signed]) == (filled.log.verify().origin, signed, 10)
    for seq in range(20):
        proof = filled.log.inclusion_proof(seq)
        assert verify_inclusion(proof.leaf, seq, proof.path, signed)
    assert filled.log.append(entry("goes on")) == 20
    assert filled.log.entry(3) == (3, None, None, False)
    assert [item.seq for item in filled.log.entries(since_ms=0)] == list(range(20, 9, -1))


def test_sensitive_and_other_entries_have_their_own_time(filled: Kept) -> None:
    assert expire(filled, START_MS + 10_001, True) == 3
    assert cleared(filled) == [1, 4, 7]
    assert expire(filled, START_MS + 5_001, False) == 3
    assert cleared(filled) == [0, 1, 2, 3, 4, 7]
    assert filled.log.verify().cleared == 6
    assert expire(filled, START_MS + 5_001) == 0


def test_everything_can_be_over(filled: Kept) -> None:
    assert expire(filled, START_MS + DAY_MS) == 20
    assert filled.log.verify().cleared == 20
    assert expire(filled, START_MS + DAY_MS) == 0


def test_a_clock_that_was_wrong_for_a_while_keeps_nothing_longer_and_ends_nothing_early(kept: Kept) -> None:
    for moved in (0, 0, 900 * DAY_MS, -900 * DAY_MS - 300 * DAY_MS, 300 * DAY_MS, 5 * DAY_MS):
        kept.clock.now_ms += moved  # entry 2 is from the future, entry 3 from the past, entry 5 is new
        kept.log.append(entry("x"))
    assert expire(kept, START_MS + DAY_MS) == 5
    assert cleared(kept) == [0, 1, 2, 3, 4]
    kept.clock.now_ms -= 300 * DAY_MS
    kept.log.append(entry("from the past, behind one that is new"))
    kept.clock.now_ms += 300 * DAY_MS
    assert expire(kept, START_MS + DAY_MS) == 0
    assert kept.log.verify().cleared == 5


MOVES = st.tuples(st.integers(-400, 400), st.booleans(), st.sampled_from([None, None, None, True, False]))


@settings(max_examples=40)
@given(st.lists(MOVES, max_size=30), st.integers(-400, 400))
def test_whatever_the_clock_did_retention_leaves_a_whole_log(
    moves: list[tuple[int, bool, bool | None]], kept_days: int
) -> None:
    database, clock = Database.in_memory(), Clock()
    log = TransparencyLog(database, now_ms=clock)
    for days, sensitive, over in moves:
        clock.now_ms += days * DAY_MS
        log.append(entry("x", sensitive=sensitive))
        before_ms = clock.now_ms - kept_days * DAY_MS
        database.write(lambda c, before=before_ms, kind=over: log.expire(c, before, kind))  # type: ignore[misc]
        assert log.verify().cleared == sum(item.entry is None for item in log.entries())
    database.close()
