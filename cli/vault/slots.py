"""`claw vault slots`: the ways into the vault, listed, added, removed and tried."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cli.arguments import number_at_least
from cli.console import Console, columns
from cli.errors import UsageError
from vault.errors import ClawError, VaultError
from vault.sanitize import sanitize

if TYPE_CHECKING:
    from vault.hardware import Token
    from vault.keychain import Keychain
    from vault.keyslots import Keyslots
    from vault.slot_changes import SlotChanges
    from vault.slot_kinds import Slot
    from vault.store import Vault

__all__ = ["configure", "described", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    parser.add_argument("--json", action="store_true")
    verbs = parser.add_subparsers(dest="slots_verb", metavar="VERB")

    add = verbs.add_parser("add", help="add a way in", description="Add a way in.")
    kinds = add.add_subparsers(dest="kind", metavar="KIND", required=True)
    passphrase = kinds.add_parser("passphrase", help="one more passphrase")
    passphrase.add_argument(
        "--new-passphrase-file", type=Path, metavar="FILE", help="a 0600 file that holds the new passphrase"
    )
    kinds.add_parser("keychain", help="the keychain of this desktop")
    recovery = kinds.add_parser("recovery", help="words on paper, some of which open the vault (SLIP-39)")
    for name, metavar, default, meaning in (
        ("--threshold", "K", 2, "shares that are needed (2)"),
        ("--shares", "N", 3, "shares that are made (3)"),
    ):
        recovery.add_argument(name, type=number_at_least(1), default=default, metavar=metavar, help=meaning)
    hardware = kinds.add_parser("hardware", help="a hardware token (PKCS#11)")
    hardware.add_argument("--token", required=True, metavar="LABEL", help="the token's label")

    remove = verbs.add_parser("remove", help="remove a way in", description="Remove a way in.")
    remove.add_argument("slot", metavar="ID")
    remove.add_argument("--yes", action="store_true", help="don't ask")

    test = verbs.add_parser("test", help="open the vault by each of them", description="Try the ways in.")
    test.add_argument("slot", nargs="?", metavar="ID", help="this one alone")
    test.add_argument("--json", action="store_true")

    verbs.add_parser(
        "upgrade",
        help="bring them up to date: what a passphrase costs to guess, and slots of older versions",
        description="Stretch passphrases as new ones are, and rewrite slots that key rotation can't reach yet.",
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry out the sub-verb.

    Raises:
        NotFound: the vault has no such slot.
        LastSlot: the keychain alone would remain, or nothing.
        KeychainError, HardwareError, VaultError: what was asked for can't be done; nothing was changed.
    """
    if arguments.slots_verb == "add":
        return _add(arguments, console)
    if arguments.slots_verb == "remove":
        return _remove(arguments, console)
    if arguments.slots_verb == "test":
        from cli.vault.slot_trials import try_slots

        return try_slots(console, only=arguments.slot or "", as_json=arguments.json)
    if arguments.slots_verb == "upgrade":
        from cli.vault.slot_trials import upgrade_slots

        return upgrade_slots(console)
    return _list(console, as_json=arguments.json)


def described(slot: "Slot") -> str:
    """What opens a slot, in a few words."""
    from vault.slot_kinds import (
        HardwareSlot,
        PassphraseSlot,
        RecoverySlot,
        SymmetricPassphraseSlot,
        SymmetricSlot,
    )

    if isinstance(slot, PassphraseSlot | SymmetricPassphraseSlot):
        mib = slot.cost.memory_kib / 1024
        words = f"a passphrase (Argon2id, {mib:g} MiB)"
    elif isinstance(slot, RecoverySlot):
        words = f"any {slot.threshold} of {slot.shares} recovery shares"
    elif isinstance(slot, HardwareSlot):
        words = f"the token {slot.token} (serial {slot.serial})"
    else:
        words = "the desktop's keychain"
    return f"{words}; not rotatable yet" if isinstance(slot, SymmetricSlot) else words


def _list(console: Console, *, as_json: bool) -> int:
    from vault.keyslots import Keyslots
    from vault.slot_kinds import kind_of

    slots = Keyslots.read(console.home.keyslots)
    if as_json:
        rows = [_facts(slot) for slot in slots.slots]
        print(msgspec.json.encode({"vault": slots.vault_id, "epoch": slots.epoch, "slots": rows}).decode())
        return 0
    print(
        sanitize(
            columns(
                [
                    ("ID", "KIND", "MADE", "OPENED BY"),
                    *((slot.id, kind_of(slot), _day(slot.created), described(slot)) for slot in slots.slots),
                ]
            )
        )
    )
    if slots.not_rotatable:
        console.say("Slots that aren't rotatable yet are brought up to date by `claw vault slots upgrade`.")
    return 0


def _facts(slot: "Slot") -> dict[str, object]:
    """What a program may want to know of a slot; nothing of the keys in it."""
    from vault.slot_kinds import RotatableSlot

    shown = ("kind", "id", "created", "cost", "account", "threshold", "shares", "token", "serial", "mechanism")
    facts = msgspec.to_builtins(slot)
    return {name: facts[name] for name in shown if name in facts} | {"rotatable": isinstance(slot, RotatableSlot)}


def _add(arguments: argparse.Namespace, console: Console) -> int:
    with console.open_vault() as vault:
        slot_id = _added(arguments, console, vault)
    console.say(f"Added, and opened the vault by it: the {arguments.kind} slot {slot_id}.")
    return 0


def _added(arguments: argparse.Namespace, console: Console, vault: "Vault") -> str:
    slots = vault.slots
    if arguments.kind == "passphrase":
        from cli.vault.slot_prompts import new_passphrase

        return slots.add_passphrase(new_passphrase(console, arguments.new_passphrase_file))
    if arguments.kind == "keychain":
        from vault.keychain import SystemKeychain

        keychain = SystemKeychain()
        _check_new(keychain, slots)
        return vault.add_keychain(keychain)
    slots.read().check_room()
    if arguments.kind == "recovery":
        from cli.vault.recovery_sheet import hand_out
        from vault.recovery import RecoveryKit

        kit = RecoveryKit.generate(arguments.threshold, arguments.shares)
        hand_out(kit, console)
        return slots.add_recovery(kit)
    return slots.add_hardware(_token(console, arguments.token))


def _check_new(keychain: "Keychain", slots: "SlotChanges") -> None:
    """A second slot for the same keychain would be one more thing to forget, and no further way in."""
    try:
        slots.read().open_with_keychain(keychain)
    except ClawError:  # none yet, or it opens no more: then a new one is what helps
        return
    raise VaultError(
        "This keychain opens the vault already; nothing was added.", hint="`claw vault slots` lists the ways in."
    )


def _remove(arguments: argparse.Namespace, console: Console) -> int:
    from cli.vault.passwd import OLD_COPIES

    with console.open_vault() as vault:
        slots = vault.slots.read()
        slot = slots.slot(arguments.slot)
        slots.check_removable(slot.id)
        if not (arguments.yes or console.can_ask):
            raise UsageError("Nobody can be asked whether that may be removed.", hint="To remove it unasked: --yes")
        if not (arguments.yes or console.confirm(f"Remove the slot {slot.id}: {described(slot)}?")):
            console.say("Nothing was removed.")
            return 1
        vault.slots.remove(slot.id)
    console.say(f"Removed the slot {slot.id}. {OLD_COPIES}")
    try:
        _forget(slot, slots, console)
    except ClawError as error:
        console.say(f"Its secret could not be deleted, and opens nothing any more. {error.message}")
    return 0


def _forget(slot: "Slot", slots: "Keyslots", console: Console) -> None:
    """Delete what opened a slot from where it was kept; a keychain that is no way in any more remembers nothing."""
    from vault.keychain import SystemKeychain
    from vault.mirror import mirror_account
    from vault.slot_kinds import HardwareSlot, KeychainSlot, SymmetricKeychainSlot, kind_of

    if isinstance(slot, KeychainSlot | SymmetricKeychainSlot):
        keychain = SystemKeychain()
        keychain.delete(slot.account)
        if not any(kind_of(other) == "keychain" and other.id != slot.id for other in slots.slots):
            keychain.delete(mirror_account(slots.vault_id))
    elif isinstance(slot, HardwareSlot):
        _token(console, slot.token).destroy(slot.key)


def _token(console: Console, label: str) -> "Token":
    from cli.vault.slot_prompts import ready_token

    return ready_token(console, label)


def _day(seconds: int) -> str:
    try:
        return time.strftime("%Y-%m-%d", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):  # the file can say anything before it is proven
        return "?"
