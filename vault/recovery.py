"""Recovery shares: a random secret split into words on paper, k of n of which give it back (SLIP-39, one group).

SLIP-39's own passphrase isn't used: a wrong one gives a wrong secret without a word. That the secret is the right
one is proven by the key-check value which the slot keeps.
"""

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vault.errors import RecoveryRefused, SharesMissing, VaultError
from vault.keys import KEY_BYTES, VaultId
from vault.slot_kinds import CHECK_BYTES, MOST_SHARES, RecoverySlot, decode

__all__ = ["SHARE_WORDS", "RecoveryKit", "RecoveryShare", "check_value", "combine", "read_share"]

SHARE_WORDS = 33
"""Words of a share of a 256-bit secret."""

_CHECKED = b"openclaw-core/recovery-check"


@dataclass(frozen=True, slots=True)
class RecoveryKit:
    """A new secret and its shares, in memory only.

    Attributes:
        secret: 32 random bytes.
        threshold: Shares that are needed.
        shares: The words of each.
        identifier: That SLIP-39 gave the set.
    """

    secret: bytes = field(repr=False)
    threshold: int
    shares: tuple[str, ...] = field(repr=False)
    identifier: int

    @classmethod
    def generate(cls, threshold: int, count: int) -> "RecoveryKit":
        """Make a secret and split it.

        Args:
            threshold: Shares that are needed to open.
            count: Shares that are made.

        Raises:
            VaultError: no such set can be made.
        """
        from shamir_mnemonic import Share, generate_mnemonics

        if not 1 <= threshold <= count <= MOST_SHARES:
            raise VaultError(f"A set has up to {MOST_SHARES} shares, of which no more are needed than it has.")
        if threshold == 1 < count:
            raise VaultError(
                "Shares of which one alone opens the vault are no more than copies.",
                hint="Ask for at least 2 (--threshold 2), or make a single one (--shares 1) and copy it yourself.",
            )
        secret = secrets.token_bytes(KEY_BYTES)
        # Without a passphrase there is nothing to stretch: hence no rounds beyond SLIP-39's least.
        (words,) = generate_mnemonics(1, [(threshold, count)], secret, iteration_exponent=0)
        return cls(secret, threshold, tuple(words), Share.from_mnemonic(words[0]).identifier)


@dataclass(frozen=True, slots=True)
class RecoveryShare:
    """One share, as a person typed it, with no mistake in its words.

    Attributes:
        number: Its place among those given, from 1.
        identifier: Of the set it belongs to.
        index: Its place in the set.
        threshold: Shares that the set asks for.
        words: Its words, one blank between two.
    """

    number: int
    identifier: int
    index: int
    threshold: int
    words: str = field(repr=False)


def read_share(text: str, number: int) -> RecoveryShare:
    """Read one share.

    Args:
        text: Its words, in any case, with any white space.
        number: What to call it in an error.

    Raises:
        RecoveryRefused: it has a mistyped word, too few or too many, or isn't of a kind that we make.
    """
    from shamir_mnemonic import MnemonicError, Share
    from shamir_mnemonic.wordlist import WORD_INDEX_MAP

    words = text.lower().split()
    for place, word in enumerate(words, 1):
        if word not in WORD_INDEX_MAP:
            raise RecoveryRefused(
                f"Share {number} has a mistyped word: word {place} isn't in the list of words.",
                hint="Compare it with the paper, letter by letter.",
            )
    if len(words) != SHARE_WORDS:
        raise RecoveryRefused(
            f"Share {number} has {len(words)} words, not {SHARE_WORDS}.", hint="Compare it with the paper."
        )
    try:
        share = Share.from_mnemonic(" ".join(words))
    except MnemonicError:  # its text quotes words
        raise RecoveryRefused(
            f"Share {number} has a mistyped word, or two that changed places.",
            hint="Each word is in the list, but they don't fit together; compare them with the paper.",
        ) from None
    if share.group_count != 1 or share.iteration_exponent != 0 or not share.extendable:
        raise _of_another_set([number])
    return RecoveryShare(number, share.identifier, share.index, share.member_threshold, " ".join(words))


def combine(texts: Sequence[str], slots: Sequence[RecoverySlot], vault_id: VaultId) -> tuple[RecoverySlot, bytes]:
    """The secret that shares give, and the slot that it is of.

    Args:
        texts: The shares.
        slots: The vault's recovery slots, at least one.
        vault_id: The vault's.

    Raises:
        SharesMissing: there are no shares.
        RecoveryRefused: a share is mistyped, belongs to another set, is given twice, or more are needed.
    """
    from shamir_mnemonic import MnemonicError, combine_mnemonics

    shares = [read_share(text, number) for number, text in enumerate(texts, 1)]
    candidates = _slots_of(shares, slots)
    _refuse_twins(shares)
    threshold = shares[0].threshold
    missing = threshold - len(shares)
    if missing > 0:
        raise RecoveryRefused(f"{missing} more {'share is' if missing == 1 else 'shares are'} needed.")
    try:
        secret: bytes = combine_mnemonics([share.words for share in shares[:threshold]])
    except MnemonicError:
        raise _of_another_set([]) from None
    value = check_value(secret, vault_id)
    for slot in candidates:
        if hmac.compare_digest(value, decode(slot.check, CHECK_BYTES)):
            return slot, secret
    raise _of_another_set([])


def check_value(secret: bytes, vault_id: VaultId) -> bytes:
    """The key-check value of a recovery secret: tells a wrong one, and nothing about the right one."""
    key = HKDF(hashes.SHA256(), KEY_BYTES, bytes.fromhex(vault_id), _CHECKED).derive(secret)
    return hmac.digest(key, _CHECKED, "sha256")[:CHECK_BYTES]


def _slots_of(shares: Sequence[RecoveryShare], slots: Sequence[RecoverySlot]) -> list[RecoverySlot]:
    """The slots whose sets the shares may be of: with identifiers of 15 bits, two sets can look alike."""
    sets = {(slot.identifier, slot.threshold) for slot in slots}
    if strange := [share.number for share in shares if _set_of(share) not in sets]:
        raise _of_another_set(strange if len(strange) < len(shares) else [])
    if not shares:
        least = min(slot.threshold for slot in slots)
        raise SharesMissing(f"No share was given; {least} {'is' if least == 1 else 'are'} needed.")
    first = shares[0]
    if mixed := [share.number for share in shares if _set_of(share) != _set_of(first)]:
        raise _mixed(mixed[0], first.number)
    return [slot for slot in slots if (slot.identifier, slot.threshold) == _set_of(first)]


def _set_of(share: RecoveryShare) -> tuple[int, int]:
    return share.identifier, share.threshold


def _refuse_twins(shares: Sequence[RecoveryShare]) -> None:
    given: dict[int, RecoveryShare] = {}
    for share in shares:
        twin = given.setdefault(share.index, share)
        if twin.words != share.words:  # the same place in two sets that look alike
            raise _mixed(share.number, twin.number)
        if twin is not share:
            raise RecoveryRefused(
                f"Shares {twin.number} and {share.number} are the same one.", hint="Take another one."
            )


def _mixed(number: int, other: int) -> RecoveryRefused:
    return RecoveryRefused(
        f"Share {number} belongs to another set than share {other}.",
        hint="Shares open a vault together with others of their own set alone.",
    )


def _of_another_set(numbers: Sequence[int]) -> RecoveryRefused:
    named = f"Share {numbers[0]} belongs" if len(numbers) == 1 else "These shares belong"
    return RecoveryRefused(
        f"{named} to another set.",
        hint="Shares of another vault, or of a set that was removed since, don't open this one.",
    )
