"""Entries: one way to write each, a commitment that only its own opening opens, and what belongs together."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.vault.log.kept import entry
from vault.classes import DataClass
from vault.log.entries import Action, Body, Entry, Status, StoredEntry, commit, decode, encode, fold, opens

TEXT = st.text(max_size=50)
ENTRIES = st.builds(
    Entry,
    action=st.sampled_from(Action),
    purpose=TEXT,
    data_class=st.sampled_from(DataClass),
    description=TEXT,
    destination=TEXT,
    bytes=st.integers(0, 2**63 - 1),
    encryption=TEXT,
    status=st.sampled_from(Status),
    consent=TEXT,
    payload_sha256=st.sampled_from(["", "0" * 64, "0123456789abcdef" * 4]),
    about=st.none() | st.integers(0, 2**63 - 1),
    sensitive=st.booleans(),
)
BODIES = st.builds(Body, seq=st.integers(0, 2**63 - 1), at_ms=st.integers(0, 2**63 - 1), entry=ENTRIES)
BODY = Body(17, 1_700_000_000_000, entry("model-pull", status=Status.PREPARED, about=3))


@given(BODIES)
def test_what_is_written_is_read(body: Body) -> None:
    assert decode(encode(body)) == body


def test_the_written_form_is_fixed() -> None:
    assert encode(BODY) == (
        b'{"seq":17,"at_ms":1700000000000,"entry":{"action":"network","purpose":"model-pull","data_class":"general",'
        b'"description":"1 request","destination":"example.com","status":"prepared","about":3}}'
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"bytes": -1},
        {"about": -1},
        {"purpose": "x" * 10_001},
        {"payload_sha256": "0" * 63},
        {"payload_sha256": "G" * 64},
        {"payload_sha256": "0" * 64 + "\n"},
        {"description": "\ud800"},
    ],
)
def test_what_could_not_be_read_again_is_not_written(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        encode(Body(0, 0, msgspec.structs.replace(BODY.entry, **changes)))


def other_ways_to_write_it() -> list[bytes]:
    data = encode(BODY)
    return [
        b"",
        b"null",
        data + b" ",
        data[:-1],
        data.replace(b":17,", b": 17,"),
        data.replace(b":17,", b":17.0,"),
        data.replace(b":17,", b":-17,"),
        data.replace(b"model", b"\\u006dodel"),
        data.replace(b"model", b"\xff"),
        data.replace(b'"seq":17,"at_ms":1700000000000', b'"at_ms":1700000000000,"seq":17'),
        data.replace(b'"about":3', b'"about":3,"sensitive":false'),
        data.replace(b'"about":3', b'"about":3,"about":3'),
        data.replace(b'"about":3', b'"about":3,"unknown":1'),
        data.replace(b'"network"', b'"unknown"'),
        data.replace(b'"action":"network",', b""),
        b"[" * 100_000,
    ]


@pytest.mark.parametrize("data", other_ways_to_write_it())
def test_nothing_else_is_read(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)


@given(st.binary(max_size=300))
@example(encode(BODY))
def test_any_bytes_are_an_entry_or_refused(data: bytes) -> None:
    try:
        body = decode(data)
    except ValueError:
        return
    assert encode(body) == data


@given(BODIES, st.data())
def test_no_change_to_an_entry_is_the_same_entry(body: Body, data: st.DataObject) -> None:
    written = encode(body)
    at = data.draw(st.integers(0, len(written) - 1))
    changed = written[:at] + data.draw(st.binary(max_size=2)) + written[at + 1 :]
    try:
        read = decode(changed)
    except ValueError:
        return
    assert (read == body) == (changed == written)


def test_a_commitment_is_opened_by_its_own_salt_and_bytes_alone() -> None:
    salt, data = bytes(range(32)), encode(BODY)
    commitment = commit(salt, data)
    assert opens(commitment, salt, data)
    assert not opens(commitment, salt[::-1], data)
    assert not opens(commitment, salt, data + b" ")
    assert not opens(commitment[:-1], salt, data)


@pytest.mark.parametrize("salt", [b"", bytes(31), bytes(33), bytes(64)])
def test_a_salt_of_another_length_opens_nothing(salt: bytes) -> None:
    # HMAC pads its key with zeros: these would all be the same one.
    assert not opens(commit(bytes(32), b"x"), salt, b"x")
    with pytest.raises(ValueError, match="32 bytes"):
        commit(salt, b"x")


def stored(seq: int, about: int | None = None, status: Status = Status.DONE, sent: int = 0) -> StoredEntry:
    made = msgspec.structs.replace(entry("x", status=status, about=about), bytes=sent)
    return StoredEntry(seq, seq * 1000, made)


def test_entries_are_folded_with_those_that_complete_them() -> None:
    listed = [
        stored(5, about=3, status=Status.ACKNOWLEDGED),
        stored(4),
        stored(3, about=1, status=Status.SENT, sent=80),
        StoredEntry(2, None, None),
        stored(1, status=Status.PREPARED, sent=70),
    ]
    folded = fold(listed)
    assert [[item.seq for item in operation.entries] for operation in folded] == [[4], [2], [1, 3, 5]]
    assert [(o.first.seq, o.status, o.bytes) for o in folded] == [
        (4, Status.DONE, 0),
        (2, None, 0),
        (1, Status.ACKNOWLEDGED, 80),
    ]


def test_an_entry_whose_beginning_is_not_there_stands_by_itself() -> None:
    assert [o.first.seq for o in fold([stored(9, about=2), stored(8, about=8)])] == [9, 8]
