"""`claw vault erase`: remove for good a message, a conversation, all that came from one source, or everything."""

import argparse
import sys
from typing import TYPE_CHECKING

import msgspec

from cli.console import Console, size
from cli.errors import UsageError
from cli.working import Working
from vault.sanitize import sanitize_line

if TYPE_CHECKING:
    from vault.erasure import Plan, Receipt
    from vault.home import Home
    from vault.keychain import Keychain
    from vault.messages import Session
    from vault.shred import Shredded
    from vault.store import Vault

__all__ = ["configure", "run"]

_WORD = "erase"
_SHOWN = 10
_NEEDS_YES = "To erase unasked: --yes"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--item", metavar="MESSAGE", help="a message, by its id, and all that was said after it")
    what.add_argument("--session", metavar="SESSION", help="a conversation, by its id or title")
    what.add_argument(
        "--source",
        metavar="NAME",
        help="files of this name that were attached, read or imported",
    )
    what.add_argument("--all", action="store_true", help="the whole vault; no passphrase is needed for that")
    parser.add_argument("--models", action="store_true", help="with --all: the weights too")
    parser.add_argument("--yes", action="store_true", help="don't ask")
    parser.add_argument("--json", action="store_true")
    parser.epilog = "What was erased can't be brought back. Backups made earlier still hold it, encrypted."


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Ask, erase, and say what went."""
    if arguments.all:
        return _erase_all(arguments, console)
    if arguments.models:
        raise UsageError("--models belongs to --all.", hint="To remove one model: claw model rm NAME")
    if not (arguments.item or arguments.session or arguments.source):
        raise UsageError("An empty name names nothing.", hint="`claw chat list` shows the conversations.")
    with console.open_vault() as vault:
        plan = _plan(vault, arguments)
        return _carry_out(vault, plan, console, yes=arguments.yes, as_json=arguments.json)


def _plan(vault: "Vault", arguments: argparse.Namespace) -> "Plan":
    if arguments.item:
        return vault.erasure.of_message(arguments.item)
    if arguments.session:
        return vault.erasure.of_sessions([vault.conversations.find(arguments.session)])
    return vault.erasure.of_source(arguments.source)


def _carry_out(vault: "Vault", plan: "Plan", console: Console, *, yes: bool, as_json: bool) -> int:
    if not as_json or not yes:
        for line in _consequences(plan):
            console.say(line)
    if not yes:
        if not console.can_ask:
            raise UsageError("Nobody can be asked whether that may be erased.", hint=_NEEDS_YES)
        if not console.confirm("Erase it for good?"):
            console.say("Nothing was erased.")
            return 1
    try:
        with Working(console, "erasing"):
            receipt = vault.erasure.carry_out(plan)
    except KeyboardInterrupt:
        console.say("Interrupted. Nothing was erased, unless `claw log list` has a receipt: then all of it was.")
        raise
    if as_json:
        print(msgspec.json.encode(receipt).decode())
    else:
        for line in _receipt(receipt):
            console.say(line)
    return 0


def _consequences(plan: "Plan") -> list[str]:
    from vault.erasure import Erased

    held = Erased(messages=plan.message_count, files=plan.file_count)
    lines = []
    if plan.sessions and plan.messages:
        lines.append(f"{_titles(plan.sessions)}, and what came from there into other conversations: {held}.")
    elif plan.sessions:
        lines.append(f"{_titles(plan.sessions)}: {held}.")
    elif len(plan.roots) > 1:
        lines.append(f"{held}: what came from there, and what was said after it.")
    elif plan.messages:
        lines.append(f"{held}: the message, and what was said after it.")
    if plan.files:
        names = list(dict.fromkeys(f"“{sanitize_line(file.name)}”" for file in plan.files))
        called = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")
        lines.append(
            f"{_count(len(plan.files), 'attached file')} called {called}. "
            "The messages they were attached to stay, and so do replies that quote them."
        )
    if plan.examples:
        lines.append(f"{_count(len(plan.examples), 'training example')} that came from there.")
    if plan.adapters:
        called = ", ".join(f"{adapter.skill} {adapter.version}" for adapter in plan.adapters[:_SHOWN])
        more = "" if len(plan.adapters) <= _SHOWN else f" and {len(plan.adapters) - _SHOWN:,} more"
        lines.append(f"{_count(len(plan.adapters), 'trained adapter')} that learned from it: {called}{more}.")
    if plan.copies:
        lines.append(f"Forked from it, these hold copies and stay: {_titles(plan.copies)}.")
    return lines


def _receipt(receipt: "Receipt") -> list[str]:
    entry = f" Receipt: entry {receipt.entry} of the log." if receipt.entry is not None else ""
    lines = [f"Erased {receipt.erased}.{entry}"]
    if receipt.entry is None:
        lines.append("The transparency log is damaged and took no receipt: `claw vault check` says more.")
    if not receipt.gone:
        lines.append(receipt.left)
    return lines


def _erase_all(arguments: argparse.Namespace, console: Console) -> int:
    from vault.errors import NoVault
    from vault.memory import harden_process
    from vault.shred import shred, shreddable

    harden_process()  # to forget what the keychain holds, it is looked for, and comes with its secret
    if (found := shreddable(console.home)) is None:
        raise NoVault(f"There is no vault in {console.home.vault}; nothing was erased.")
    if not arguments.yes:
        if not console.can_ask:
            raise UsageError("Nobody can be asked whether everything may be erased.", hint=_NEEDS_YES)
        console.say(
            f"This destroys the vault in {console.home.vault} ({size(found)}): every conversation, every attached "
            "file, the log, the keys. Nothing brings it back but a backup."
        )
        print(f"Type {_WORD} to do it: ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip() != _WORD:
            console.say("Nothing was erased.")
            return 1
    done = shred(console.home, _keychain, models=arguments.models)
    if arguments.json:
        print(msgspec.json.encode(done).decode())
    else:
        for line in _shredded(done, console):
            console.say(line)
    return 0


def _keychain() -> "Keychain":
    from vault.keychain import SystemKeychain

    return SystemKeychain()


def _shredded(done: "Shredded", console: Console) -> list[str]:
    how = "overwritten and removed" if done.overwritten else "removed; the disk let them not be overwritten first"
    lines = [
        "The vault is destroyed. It was not opened for that.",
        f"  keys      {_count(done.key_files, 'file')} of key slots {how}",
        f"  keychain  {_count(len(done.keychain), 'item')} removed",
        f"  files     {_count(done.files, 'other file')} removed, {size(done.bytes)}",
        f"  kept      {', '.join(_kept(console.home))}",
    ]
    if done.keychain_left:
        lines.append(
            f"The keychain couldn't be asked to forget: {', '.join(map(sanitize_line, done.keychain_left))}. "
            "They open nothing any more; remove them in its own program (service openclaw-core)."
        )
    if done.in_use:
        lines.append("Another program had the vault open. It was told to lock; end it to be sure.")
    return lines


def _kept(home: "Home") -> list[str]:
    """What is still there once the vault is destroyed."""
    from vault.pause import PauseLatch

    kept = [f"{home.config_file} (settings)"] if home.config_file.exists() else []
    if PauseLatch(home).engaged:
        kept.append("the pause (`claw resume` ends it)")
    if home.models.exists():
        kept.append("models/ (public weights; --models removes them)")
    return [*kept, "backups wherever you put them"]


def _titles(sessions: "tuple[Session, ...]") -> str:
    titles = ", ".join(f"“{sanitize_line(session.title)}”" for session in sessions[:_SHOWN])
    more = len(sessions) - _SHOWN
    return titles if more <= 0 else f"{titles} and {_count(more, 'more conversation')}"


def _count(count: int, name: str) -> str:
    return f"{count:,} {name}{'s' * (count != 1)}"
