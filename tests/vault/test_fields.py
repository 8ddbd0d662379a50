"""Sealed fields: what opens in its place opens nowhere else."""

import os
import struct
from collections.abc import Callable

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from vault.classes import DataClass, HighlySensitive
from vault.errors import DatabaseDamaged
from vault.fields import FieldCipher
from vault.keys import MasterKey, VaultId

SECRET = bytes(range(32))
VAULT, OTHER = VaultId("ab" * 16), VaultId("cd" * 16)
PLACE = ("attachments", "7", "text")
CANARY = b"the canary sang of pomegranates"
HEADER = 5 + 12


@pytest.fixture
def fields() -> FieldCipher:
    return of(VAULT)


def of(vault_id: VaultId, epoch: int = 1, secret: bytes = SECRET) -> FieldCipher:
    return FieldCipher(MasterKey(secret, vault_id).derive, vault_id, epoch)


def sealed(fields: FieldCipher, value: bytes = CANARY) -> bytes:
    return fields.seal(*PLACE, HighlySensitive(value))


def refused(fields: FieldCipher, field: bytes, place: tuple[str, str, str] = PLACE) -> bool:
    with pytest.raises(DatabaseDamaged, match="altered, or was moved") as error:
        fields.open(*place, field)
    assert error.value.hint
    assert CANARY.decode() not in str(error.value)
    return True


@given(st.binary(max_size=10_000), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_what_was_sealed_opens_in_its_place(value: bytes, table: str, row: str, column: str) -> None:
    fields = of(VAULT)
    field = fields.seal(table, row, column, HighlySensitive(value))
    assert of(VAULT).open(table, row, column, field).reveal() == value
    assert len(field) == HEADER + len(value) + 16


def test_a_sealed_field_says_nothing_of_what_it_holds(fields: FieldCipher) -> None:
    field = sealed(fields)
    assert CANARY[:8] not in field
    assert field[:5] == struct.pack(">BI", 1, 1)
    assert sealed(fields) != field


@pytest.mark.parametrize(
    "place",
    [
        ("secrets", "7", "text"),
        ("attachments", "8", "text"),
        ("attachments", "7", "name"),
        ("attachments", "", "7text"),
        ("attachments7", "", "text"),
        ("attachments", "7/text", ""),
        ("attachments", '7","text', ""),
        ("", "", ""),
    ],
)
def test_a_field_moved_to_another_place_is_refused(fields: FieldCipher, place: tuple[str, str, str]) -> None:
    assert refused(fields, sealed(fields), place)


@given(st.tuples(st.text(), st.text(), st.text()), st.tuples(st.text(), st.text(), st.text()))
def test_no_two_places_are_the_same(place: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    fields = of(VAULT)
    field = fields.seal(*place, HighlySensitive(CANARY))
    assert place == other or refused(fields, field, other)


def test_a_field_of_another_vault_is_refused(fields: FieldCipher) -> None:
    assert refused(of(OTHER), sealed(fields))
    # Even where the two were given one key.
    derive = MasterKey(SECRET, VAULT).derive
    assert refused(FieldCipher(derive, OTHER), sealed(FieldCipher(derive, VAULT)))


def test_a_field_under_another_master_key_is_refused(fields: FieldCipher) -> None:
    assert refused(of(VAULT, secret=bytes(32)), sealed(fields))


def test_fields_of_older_epochs_still_open_and_new_ones_are_sealed_with_the_newest(fields: FieldCipher) -> None:
    old = sealed(fields)
    fields.epoch = 2
    new = sealed(fields)
    assert (old[1:5], new[1:5]) == (bytes([0, 0, 0, 1]), bytes([0, 0, 0, 2]))
    for reader in (fields, of(VAULT, 1), of(VAULT, 9)):
        assert [reader.open(*PLACE, field).reveal() for field in (old, new)] == [CANARY, CANARY]


def test_a_field_that_claims_another_epoch_is_refused(fields: FieldCipher) -> None:
    old = sealed(fields)
    for epoch in (0, 2, 2**32 - 1):
        assert refused(fields, struct.pack(">BI", 1, epoch) + old[5:])
    # Even where the two epochs had one key.
    unchanging = FieldCipher(lambda _use: bytes(32), VAULT)
    assert refused(unchanging, struct.pack(">BI", 1, 2) + sealed(unchanging)[5:])


def test_a_field_of_another_class_is_refused(fields: FieldCipher) -> None:
    """Of another key, and of the same key with another binding."""
    derive = MasterKey(SECRET, VAULT).derive
    nonce = bytes(12)
    start = struct.pack(">BI", 1, 1) + nonce
    for key_class, bound_class, opens in (
        (DataClass.HIGHLY_SENSITIVE, DataClass.HIGHLY_SENSITIVE, True),
        (DataClass.HIGHLY_SENSITIVE, DataClass.MEDIUM, False),
        (DataClass.MEDIUM, DataClass.HIGHLY_SENSITIVE, False),
        (DataClass.MEDIUM, DataClass.MEDIUM, False),
    ):
        binding = msgspec.json.encode(["openclaw-core/field", 1, VAULT, bound_class, 1, *PLACE])
        field = start + AESGCM(derive(f"field/{key_class}/1")).encrypt(nonce, CANARY, binding)
        if opens:
            assert fields.open(*PLACE, field).reveal() == CANARY
        else:
            assert refused(fields, field)


def test_any_altered_bit_is_refused(fields: FieldCipher) -> None:
    field = sealed(fields)
    for bit in range(8 * len(field)):
        altered = bytearray(field)
        altered[bit // 8] ^= 1 << bit % 8
        assert refused(fields, bytes(altered))


@pytest.mark.parametrize(
    "change",
    [lambda f: f[:-1], lambda f: f[: HEADER + 16], lambda f: f[:HEADER], lambda f: f[:3], lambda f: f[:0],
     lambda f: f + b"\0", lambda f: f[:HEADER] + f[HEADER + 1 :]],
)  # fmt: skip
def test_a_field_cut_or_lengthened_is_refused(fields: FieldCipher, change: Callable[[bytes], bytes]) -> None:
    assert refused(fields, change(sealed(fields)))


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda data: struct.pack(">BI", 1, 1) + data))
def test_no_other_bytes_open(data: bytes) -> None:
    assert refused(of(VAULT), data)


def test_what_was_wiped_is_derived_again_or_not_at_all(fields: FieldCipher) -> None:
    field = sealed(fields)
    fields.wipe()
    assert fields.open(*PLACE, field).reveal() == CANARY
    master = MasterKey(os.urandom(32), VAULT)
    gone = FieldCipher(master.derive, VAULT)
    field = sealed(gone)
    gone.wipe()
    master.wipe()
    with pytest.raises(Exception, match=r".") as error:
        gone.open(*PLACE, field)
    assert CANARY.decode() not in str(error.value)
