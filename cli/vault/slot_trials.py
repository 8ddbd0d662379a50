"""`claw vault slots test` and `upgrade`: opening the vault by each of its slots, and what follows from it."""

from typing import Literal

import msgspec

from cli.console import Console
from cli.errors import UsageError
from cli.vault.slot_prompts import ready_token, typed_shares
from vault.errors import (
    ClawError,
    HardwareError,
    KeychainError,
    KeyslotsDamaged,
    RecoveryRefused,
    VaultError,
)
from vault.keyslots import Keyslots, Opening
from vault.sanitize import sanitize
from vault.slot_kinds import (
    HardwareSlot,
    PassphraseSlot,
    RecoverySlot,
    Slot,
    SymmetricPassphraseSlot,
    SymmetricSlot,
    kind_of,
)

__all__ = ["try_slots", "upgrade_slots"]

Outcome = Literal["opens", "not tried", "FAILED"]


class _NotTried(ClawError):
    """A slot can't be tried here and now."""


class _Trial(msgspec.Struct, frozen=True):
    id: str
    kind: str
    outcome: Outcome
    why: str = ""


def try_slots(console: Console, *, only: str, as_json: bool) -> int:
    """Open the vault by each slot that can be tried here, or by one of them.

    Returns:
        0 if each that was tried opens, and one was; 3 if one fails; 1 if none could be tried.

    Raises:
        NotFound: there is no such slot.
        KeyslotsDamaged: the file isn't the one that this vault wrote.
    """
    from vault.memory import harden_process

    harden_process()
    slots = Keyslots.read(console.home.keyslots)
    trials = []
    for slot in (slots.slot(only),) if only else slots.slots:
        trial = _try(console, slots, slot)
        trials.append(trial)
        if not as_json:
            print(sanitize(f"{trial.id}  {trial.kind:10}  {trial.outcome:9}  {trial.why}".rstrip()), flush=True)
    if as_json:
        print(msgspec.json.encode(trials).decode())
    outcomes = {trial.outcome for trial in trials}
    return 3 if "FAILED" in outcomes else 0 if "opens" in outcomes else 1


def upgrade_slots(console: Console) -> int:
    """Bring up to date what is not: slots of version 1, and passphrases that are cheaper to guess than new ones.

    Returns:
        0 if all are up to date now, else 1.
    """
    from vault.slot_changes import settle

    left = 0
    with console.open_vault() as vault:
        for slot in vault.slots.read().slots:
            if not (_is_cheap(slot) or isinstance(slot, SymmetricSlot)):
                continue
            named = f"The {kind_of(slot)} slot {slot.id}"
            try:
                if isinstance(slot, PassphraseSlot | SymmetricPassphraseSlot):
                    passphrase = _passphrase(console, slot)
                    opening = vault.slots.read().open_with_passphrase(passphrase, only=slot.id)
                else:
                    passphrase, opening = "", _open(console, vault.slots.read(), slot)
                if _is_cheap(slot):
                    new = vault.slots.change_passphrase(slot.id, passphrase)
                    console.say(f"{named} is the slot {new} now, and costs more to guess.")
                else:
                    settle(console.home.keyslots, opening)
                    console.say(f"{named} is up to date.")
                opening.master.wipe()
            except (_NotTried, VaultError) as error:
                left += 1
                console.say(f"{named} stays as it is. {error.message}")
    if not left:
        console.say("Every slot is up to date.")
    return 1 if left else 0


def _try(console: Console, slots: Keyslots, slot: Slot) -> _Trial:
    from vault.attempts import FailedUnlocks

    try:
        with FailedUnlocks(console.home).counting():
            _open(console, slots, slot).master.wipe()
    except _NotTried as error:
        return _Trial(slot.id, kind_of(slot), "not tried", error.message)
    except KeyslotsDamaged:
        raise
    except VaultError as error:
        return _Trial(slot.id, kind_of(slot), "FAILED", error.message)
    return _Trial(slot.id, kind_of(slot), "opens")


def _open(console: Console, slots: Keyslots, slot: Slot) -> Opening:
    if isinstance(slot, PassphraseSlot | SymmetricPassphraseSlot):
        return slots.open_with_passphrase(_passphrase(console, slot), only=slot.id)
    if isinstance(slot, RecoverySlot):
        if not console.can_ask:
            raise _NotTried(f"It takes a terminal, and {slot.threshold} of its shares.")
        console.say(f"The recovery slot {slot.id}: {slot.threshold} of its shares are needed.")
        try:
            shares = typed_shares(console)
        except RecoveryRefused as error:  # the person left
            raise _NotTried(error.message) from error
        return slots.open_with_shares(shares, only=slot.id)
    if isinstance(slot, HardwareSlot):
        try:
            token = ready_token(console, slot.token)
        except (HardwareError, UsageError) as error:
            raise _NotTried(error.message) from error
        return slots.open_with_hardware(token, only=slot.id)
    from vault.keychain import SystemKeychain

    try:
        keychain = SystemKeychain()
    except KeychainError as error:
        raise _NotTried(error.message) from error
    return slots.open_with_keychain(keychain, only=slot.id)


def _passphrase(console: Console, slot: Slot) -> str:
    from vault.passphrase import read_passphrase_file

    if console.passphrase_file is not None:
        return read_passphrase_file(console.passphrase_file)
    if not console.can_ask_passphrase:
        raise _NotTried("It takes a terminal, or --passphrase-file FILE.")
    typed = console.typed_secret(f"Passphrase of the slot {slot.id} (Enter: not this one): ")
    if not typed:
        raise _NotTried("No passphrase was typed.")
    return typed


def _is_cheap(slot: Slot) -> bool:
    """Whether a slot's passphrase costs less to guess than a new one's would."""
    from vault.passphrase import DEFAULT_COST

    if not isinstance(slot, PassphraseSlot | SymmetricPassphraseSlot):
        return False
    return slot.cost.memory_kib * slot.cost.iterations < DEFAULT_COST.memory_kib * DEFAULT_COST.iterations
