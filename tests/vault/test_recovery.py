"""Recovery shares: words on paper, k of n of which open the vault, and what is said when they don't."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shamir_mnemonic import combine_mnemonics, generate_mnemonics
from shamir_mnemonic.wordlist import WORDLIST

from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.fixtures.slots import same_key, two_of_three
from vault.errors import KeyslotsDamaged, RecoveryRefused, VaultError
from vault.keys import MasterKey, VaultId, new_vault_id
from vault.keyslots import Keyslots
from vault.recovery import SHARE_WORDS, RecoveryKit, check_value, read_share
from vault.slot_kinds import RecoverySlot
from vault.slot_making import recovery_slot

SECRET = bytes(range(32))


@pytest.fixture(scope="module")
def master() -> MasterKey:
    return MasterKey.generate(new_vault_id())


@pytest.fixture(scope="module")
def made(master: MasterKey) -> tuple[Keyslots, RecoveryKit]:
    """Slots, one of which two of three shares open."""
    return two_of_three(master)


@pytest.fixture(scope="module")
def slots(made: tuple[Keyslots, RecoveryKit]) -> Keyslots:
    return made[0]


@pytest.fixture(scope="module")
def shares(made: tuple[Keyslots, RecoveryKit]) -> tuple[str, ...]:
    return made[1].shares


def refusal(slots: Keyslots, *shares: str) -> str:
    """What is said of shares that don't open; never a word of them."""
    with pytest.raises(RecoveryRefused) as refused:
        slots.open_with_shares(list(shares))
    said = refused.value.message + " " + refused.value.hint
    for words in (share.lower().split() for share in shares):
        assert not any(f"{one} {next_one}" in said.lower() for one, next_one in itertools.pairwise(words))
    return refused.value.message


@pytest.mark.parametrize(("threshold", "count"), [(1, 1), (2, 2), (2, 3), (3, 5), (16, 16)])
def test_as_many_shares_as_are_needed_open_whichever_they_are(
    master: MasterKey, threshold: int, count: int
) -> None:
    kit = RecoveryKit.generate(threshold, count)
    slots = Keyslots.first(master, PASSPHRASE, CHEAP).with_slot(master, recovery_slot(master, kit))
    assert len(set(kit.shares)) == count
    assert {len(share.split()) for share in kit.shares} == {SHARE_WORDS}
    for chosen in itertools.islice(itertools.permutations(kit.shares, threshold), 25):
        assert same_key(slots.open_with_shares(list(chosen)).master, master)
    assert same_key(slots.open_with_shares(list(kit.shares)).master, master)  # more than needed


def test_the_shares_are_those_of_slip_39(made: tuple[Keyslots, RecoveryKit]) -> None:
    _, kit = made
    assert combine_mnemonics(list(kit.shares[:2])) == kit.secret


def test_the_slot_says_how_many_are_needed_and_nothing_of_the_secret(made: tuple[Keyslots, RecoveryKit]) -> None:
    slots, kit = made
    slot = slots.slots[1]
    assert isinstance(slot, RecoverySlot)
    assert (slot.threshold, slot.shares, slot.identifier) == (2, 3, kit.identifier)
    content = slots._file(slots._mac).encoded()
    assert kit.secret not in content
    assert kit.secret.hex().encode() not in content
    assert not any(share.encode() in content for share in kit.shares)
    assert kit.shares[0] not in repr(kit)


def test_however_they_are_typed_they_open(slots: Keyslots, shares: tuple[str, ...], master: MasterKey) -> None:
    one = "  " + shares[0].upper().replace(" ", "  \n\t")
    other = shares[2].title() + "\r\n"
    assert same_key(slots.open_with_shares([one, other]).master, master)


def test_too_few_are_told_how_many_more(master: MasterKey) -> None:
    kit = RecoveryKit.generate(4, 5)
    slots = Keyslots.first(master, PASSPHRASE, CHEAP).with_slot(master, recovery_slot(master, kit))
    assert refusal(slots) == "No share was given; 4 are needed."
    assert refusal(slots, *kit.shares[:2]) == "2 more shares are needed."
    assert refusal(slots, *kit.shares[:3]) == "1 more share is needed."


def test_a_word_that_is_none_is_named_by_its_place(slots: Keyslots, shares: tuple[str, ...]) -> None:
    words = shares[1].split()
    words[6] = "mistyke"
    assert refusal(slots, shares[0], " ".join(words)) == (
        "Share 2 has a mistyped word: word 7 isn't in the list of words."
    )


def test_a_word_taken_for_another_is_found_by_the_checksum(slots: Keyslots, shares: tuple[str, ...]) -> None:
    words = shares[0].split()
    for place in range(4, SHARE_WORDS):
        altered = words.copy()
        altered[place] = WORDLIST[(WORDLIST.index(words[place]) + 1) % len(WORDLIST)]
        assert "Share 1 has a mistyped word" in refusal(slots, " ".join(altered), shares[1])


def test_words_left_out_added_or_in_another_order_are_found(slots: Keyslots, shares: tuple[str, ...]) -> None:
    words = shares[0].split()
    assert refusal(slots, " ".join(words[:-1]), shares[1]) == "Share 1 has 32 words, not 33."
    assert refusal(slots, shares[0] + " " + words[0], shares[1]) == "Share 1 has 34 words, not 33."
    assert refusal(slots, "", shares[1]) == "Share 1 has 0 words, not 33."
    words[10], words[11] = words[11], words[10]
    assert "changed places" in refusal(slots, " ".join(words), shares[1])


def test_one_share_given_twice_is_one(slots: Keyslots, shares: tuple[str, ...]) -> None:
    assert refusal(slots, shares[1], shares[1].upper()) == "Shares 1 and 2 are the same one."
    assert refusal(slots, shares[0], shares[2], shares[0]) == "Shares 1 and 3 are the same one."


def test_shares_of_another_set_are_named(slots: Keyslots, shares: tuple[str, ...]) -> None:
    other = other_than(slots)
    assert refusal(slots, *other.shares) == "These shares belong to another set."
    assert refusal(slots, shares[0], other.shares[1]) == "Share 2 belongs to another set."
    assert refusal(slots, other.shares[0], shares[0]) == "Share 1 belongs to another set."


def other_than(slots: Keyslots) -> RecoveryKit:
    """A set whose identifier isn't that of the slots' by chance."""
    taken = {slot.identifier for slot in slots.slots if isinstance(slot, RecoverySlot)}
    return next(kit for kit in iter(lambda: RecoveryKit.generate(2, 3), None) if kit.identifier not in taken)


def test_of_two_sets_each_opens_and_a_mixture_is_named(
    master: MasterKey, slots: Keyslots, shares: tuple[str, ...]
) -> None:
    other = other_than(slots)
    both = slots.with_slot(master, recovery_slot(master, other))
    for enough in (shares[:2], other.shares[:2]):
        assert same_key(both.open_with_shares(list(enough)).master, master)
    assert refusal(both, shares[0], other.shares[0]) == "Share 2 belongs to another set than share 1."
    assert refusal(both, shares[0]) == "1 more share is needed."


def alike(monkeypatch: pytest.MonkeyPatch, kit: RecoveryKit) -> RecoveryKit:
    """Another set of as many shares that has the same identifier, as happens once in 32,768 times."""
    with monkeypatch.context() as patch:
        patch.setattr("shamir_mnemonic.shamir._random_identifier", lambda: kit.identifier)
        return RecoveryKit.generate(kit.threshold, len(kit.shares))


def test_of_two_sets_that_look_alike_each_opens(
    master: MasterKey, monkeypatch: pytest.MonkeyPatch, made: tuple[Keyslots, RecoveryKit]
) -> None:
    slots, kit = made
    other = alike(monkeypatch, kit)
    both = slots.with_slot(master, recovery_slot(master, other))
    for place, enough in ((1, kit.shares[:2]), (2, other.shares[1:])):
        opening = both.open_with_shares(list(enough))
        assert same_key(opening.master, master)
        assert opening.slot == both.slots[place]


def test_of_sets_that_look_alike_a_mixture_and_a_strange_one_are_refused(
    master: MasterKey, monkeypatch: pytest.MonkeyPatch, made: tuple[Keyslots, RecoveryKit]
) -> None:
    slots, kit = made
    other, strange = alike(monkeypatch, kit), alike(monkeypatch, kit)
    both = slots.with_slot(master, recovery_slot(master, other))
    assert refusal(both, kit.shares[0]) == "1 more share is needed."
    assert refusal(both, kit.shares[0], other.shares[0]) == "Share 2 belongs to another set than share 1."
    assert refusal(both, kit.shares[0], other.shares[1]) == "These shares belong to another set."
    assert refusal(both, *strange.shares[:2]) == "These shares belong to another set."


def test_of_two_sets_that_share_an_identifier_alone_a_mixture_is_named(
    master: MasterKey, monkeypatch: pytest.MonkeyPatch, made: tuple[Keyslots, RecoveryKit]
) -> None:
    slots, kit = made
    with monkeypatch.context() as patch:
        patch.setattr("shamir_mnemonic.shamir._random_identifier", lambda: kit.identifier)
        other = RecoveryKit.generate(3, 3)
    both = slots.with_slot(master, recovery_slot(master, other))
    assert same_key(both.open_with_shares(list(other.shares)).master, master)
    assert refusal(both, kit.shares[0], other.shares[1]) == "Share 2 belongs to another set than share 1."


def test_a_set_that_only_looks_like_ours_does_not_open(
    master: MasterKey, monkeypatch: pytest.MonkeyPatch, slots: Keyslots, shares: tuple[str, ...]
) -> None:
    """Identifiers have 15 bits: another set may have ours. SLIP-39's digest and the check value tell them apart."""
    slot = slots.slots[1]
    assert isinstance(slot, RecoverySlot)
    monkeypatch.setattr("shamir_mnemonic.shamir._random_identifier", lambda: slot.identifier)
    (twins,) = generate_mnemonics(1, [(2, 3)], SECRET, iteration_exponent=0)
    assert refusal(slots, *twins[:2]) == "These shares belong to another set."
    assert refusal(slots, shares[0], twins[1]) == "These shares belong to another set."
    (three,) = generate_mnemonics(1, [(3, 3)], SECRET, iteration_exponent=0)
    assert refusal(slots, *three) == "These shares belong to another set."


@pytest.mark.parametrize(
    "kind",
    [{"iteration_exponent": 3}, {"extendable": False, "iteration_exponent": 0}, {"groups": [(2, 3), (2, 3)]}],
)
def test_shares_of_a_kind_that_we_never_make_are_of_another_set(slots: Keyslots, kind: dict[str, object]) -> None:
    arguments = {"group_threshold": 1, "groups": [(2, 3)], "master_secret": SECRET, **kind}
    foreign = generate_mnemonics(**arguments)[0]
    assert refusal(slots, *foreign[:2]) == "Share 1 belongs to another set."


def test_shares_of_a_shorter_secret_are_too_short(slots: Keyslots) -> None:
    (short,) = generate_mnemonics(1, [(2, 3)], bytes(16))
    assert refusal(slots, *short[:2]) == "Share 1 has 20 words, not 33."


def test_a_vault_without_a_recovery_slot_says_so(master: MasterKey, shares: tuple[str, ...]) -> None:
    assert refusal(Keyslots.first(master, PASSPHRASE, CHEAP), *shares) == "This vault has no recovery slot."


def test_shares_never_open_another_vaults_slot(master: MasterKey, made: tuple[Keyslots, RecoveryKit]) -> None:
    _, kit = made
    other = MasterKey.generate(new_vault_id())
    theirs, _ = two_of_three(other)
    slot = theirs.slots[1]
    assert isinstance(slot, RecoverySlot)
    moved = Keyslots(master.vault_id, 1, (slot,), bytes(32))
    assert moved.slots
    with pytest.raises((RecoveryRefused, KeyslotsDamaged)):
        moved.open_with_shares(list(kit.shares[:2]))


@pytest.mark.parametrize(
    ("threshold", "count"), [(0, 1), (2, 1), (3, 2), (2, 17), (17, 17), (1, 2), (1, 16), (-1, 3)]
)
def test_sets_that_make_no_sense_are_not_made(threshold: int, count: int) -> None:
    with pytest.raises(VaultError, match=r"set has up to 16|no more than copies"):
        RecoveryKit.generate(threshold, count)


def test_the_check_value_differs_by_secret_and_vault_and_has_eight_bytes() -> None:
    one, other = VaultId("a" * 32), VaultId("b" * 32)
    values = {check_value(SECRET, one), check_value(SECRET, other), check_value(bytes(32), one)}
    assert len(values) == 3
    assert {len(value) for value in values} == {8}
    assert (
        check_value(SECRET, one).hex() == "e1acf70d3c6332ec"
    )  # printed shares of today open with a program of tomorrow


def test_a_share_tells_what_set_it_is_of(shares: tuple[str, ...], made: tuple[Keyslots, RecoveryKit]) -> None:
    share = read_share(shares[2], 7)
    assert (share.number, share.identifier, share.index, share.threshold) == (7, made[1].identifier, 2, 2)
    assert share.words == shares[2]
    assert shares[2] not in repr(share)


@given(st.lists(st.sampled_from(WORDLIST), max_size=40).map(" ".join))
def test_no_words_make_more_than_our_own_error(text: str) -> None:
    with pytest.raises(RecoveryRefused):
        read_share(text, 1)


@given(st.text(max_size=300))
def test_no_text_makes_more_than_our_own_error(text: str) -> None:
    with pytest.raises(RecoveryRefused):
        read_share(text, 1)


@given(st.data())
def test_no_change_of_a_real_share_makes_more_than_our_own_errors(
    slots: Keyslots, shares: tuple[str, ...], master: MasterKey, data: st.DataObject
) -> None:
    text = shares[0]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 20, len(text))))
    altered = text[:start] + data.draw(st.text(st.characters(codec="utf-8"), max_size=20)) + text[end:]
    try:
        opening = slots.open_with_shares([altered, shares[1]])
    except RecoveryRefused:
        return
    assert same_key(opening.master, master)
