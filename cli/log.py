"""`claw log`: what was done with your data, and the proof that nobody changed the account of it."""

import argparse
import contextlib
import datetime
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cli.arguments import number_at_least
from cli.console import Console, columns
from cli.errors import UsageError
from vault.sanitize import sanitize, sanitize_line

if TYPE_CHECKING:
    from tlog.note import Verifier
    from vault.log import InclusionProof, Operation, StoredEntry, TransparencyLog, Verified
    from vault.log.verify import Progress

__all__ = ["configure", "run"]

_DAY_MS = 86_400_000
_SILENT_S = 1.0
_MOST_HEAD_BYTES = 1 << 20
"""No checkpoint is longer, with all the witnesses' signatures that one may carry."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    verbs = parser.add_subparsers(dest="log_verb", metavar="VERB", required=True)
    listing = verbs.add_parser("list", help="what was done, the newest first")
    listing.add_argument("--since", type=number_at_least(0), metavar="DAYS", help="not older than this")
    listing.add_argument(
        "-n", "--limit", type=number_at_least(1), default=50, metavar="N", help="how many entries at most (50)"
    )
    listing.add_argument("--match", default="", metavar="TEXT", help="only entries that say this")
    listing.add_argument("--json", action="store_true", help="print one JSON array of entries")
    show = verbs.add_parser("show", help="one entry with its proof; the signed head of the log if not given")
    show.add_argument("seq", type=number_at_least(0), nargs="?", metavar="SEQ", help="the entry's number")
    show.add_argument("--json", action="store_true")
    verify = verbs.add_parser("verify", help="recompute everything, and name the first thing that is wrong")
    of_what = verify.add_mutually_exclusive_group()
    of_what.add_argument(
        "--head", type=Path, metavar="FILE", help="what `claw log show` printed once: the log must begin with it"
    )
    of_what.add_argument("--export", type=Path, metavar="FILE", help="an exported log instead of the vault's own")
    verify.add_argument("--key", metavar="KEY", help="the key that must have signed the export")
    verify.add_argument("--json", action="store_true")
    export = verbs.add_parser("export", help="write the log out in the clear, for other tools to verify")
    export.epilog = "The last entry in the file says that it was about to be written."
    export.add_argument("file", type=Path, metavar="FILE", help="a new file, in JSON lines")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry out the sub-verb."""
    if arguments.log_verb == "verify" and arguments.export:
        _verify_export(arguments, console)
        return 0
    if arguments.log_verb == "verify" and arguments.key:
        raise UsageError("--key belongs to --export; the vault knows its own key.")
    with console.open_vault() as vault:
        match arguments.log_verb:
            case "list":
                _list(vault.log, arguments, console)
            case "show":
                _show(vault.log, arguments, console)
            case "verify":
                _verify(vault.log, arguments, vault.alarm)
            case "export":
                from cli.unlogged import say_if_unlogged
                from vault.portability.log_export import export_log

                count = export_log(vault, arguments.file)
                say_if_unlogged(vault, console)
                console.say(f"{_entries(count)} written in the clear to {arguments.file}.")
    return 0


def _list(log: "TransparencyLog", arguments: argparse.Namespace, console: Console) -> None:
    from vault.log import fold

    since_ms = None if arguments.since is None else time.time_ns() // 1_000_000 - arguments.since * _DAY_MS
    stored = log.entries(arguments.limit, since_ms=since_ms, matching=arguments.match)
    if arguments.json:
        print(msgspec.json.encode([_as_dict(item) for item in stored]).decode())
        return
    rows = [_row(operation) for operation in fold(stored) if operation.first.entry]
    if rows:
        heads = ("ENTRY", "TIME", "ACTION", "PURPOSE", "DESTINATION", "BYTES", "CLASS", "STATUS")
        print(columns([heads, *rows]))
    elif not stored:
        console.say("Nothing of the kind was logged.")
    if gone := sum(item.entry is None and not item.unreadable for item in stored):
        console.say(f"What {_entries(gone)} said has gone, its time being over; the proofs of it are still there.")
    if any(item.unreadable for item in stored):
        console.say("There are entries that can't be read. `claw log verify` says more.")


def _row(operation: "Operation") -> tuple[str, ...]:
    first = operation.first
    entry = first.entry
    assert entry is not None
    return (
        str(first.seq),
        _when(first.at_ms),
        entry.action,
        sanitize_line(entry.purpose, 30) or "-",
        sanitize_line(entry.destination, 40) or "-",
        f"{operation.bytes:,}" if operation.bytes else "-",
        entry.data_class,
        operation.status or "-",
    )


def _show(log: "TransparencyLog", arguments: argparse.Namespace, console: Console) -> None:
    from vault.errors import NotFound

    checkpoint, verifier = log.checkpoint(), log.verifier()
    if verifier is None:
        raise NotFound("Nothing was logged yet.")
    if arguments.seq is None:
        if arguments.json:
            _print_json({"checkpoint": checkpoint, "verifier_key": str(verifier)})
        else:
            print(checkpoint, end="")
            console.say(f"Any tool for C2SP checkpoints verifies that by this key: {verifier}")
        return
    stored, proof = log.entry(arguments.seq), log.inclusion_proof(arguments.seq)
    if arguments.json:
        _print_json(
            {
                **_as_dict(stored),
                "leaf": proof.leaf.hex(),
                "proof": [step.hex() for step in proof.path],
                "size": proof.head.size,
                "root": proof.head.root.hex(),
                "checkpoint": checkpoint,
                "verifier_key": str(verifier),
            }
        )
    else:
        print(_as_text(stored, proof, checkpoint, verifier))


def _as_text(stored: "StoredEntry", proof: "InclusionProof", checkpoint: str, verifier: "Verifier") -> str:
    fields = [("entry", f"{stored.seq}, of {proof.head.size}")]
    if stored.entry is None:
        gone = "can't be read" if stored.unreadable else "has gone, its time being over"
        fields.append(("content", f"{gone}; `claw log verify` says whether that is as it should be"))
    else:
        fields.append(("time", f"{_when(stored.at_ms)} ({stored.at_ms} ms)"))
        for name, value in msgspec.structs.asdict(stored.entry).items():
            fields.append((name.replace("_", " "), _plain(value)))
    steps = [("leaf", proof.leaf.hex())]
    steps += [(f"step {number}", step.hex()) for number, step in enumerate(proof.path, start=1)]
    steps.append(("root", proof.head.root.hex()))
    return "\n\n".join(
        [
            columns(fields),
            f"It is part of the log: its leaf leads to the root of all {proof.head.size}.\n{columns(steps)}",
            f"The signed head (key {verifier}):\n{sanitize(checkpoint).rstrip()}",
        ]
    )


def _verify(log: "TransparencyLog", arguments: argparse.Namespace, alarm: str) -> None:
    from vault.errors import RolledBack
    from vault.guard import ACCEPT

    remembered = [_head_in(arguments.head, log)] if arguments.head else []
    with _progress() as progress:
        verified = log.verify(remembered, progress=progress)
    _print_verified(verified, log.verifier(), as_json=arguments.json)
    if alarm:
        raise RolledBack(alarm, hint=ACCEPT)


def _verify_export(arguments: argparse.Namespace, console: Console) -> None:
    from vault.log import verify_export
    from vault.log.checkpoint import verifier_of

    wanted = verifier_of(arguments.key) if arguments.key else None
    verified, verifier = verify_export(arguments.export, wanted)
    _print_verified(verified, verifier, as_json=arguments.json)
    if wanted is None:
        console.say(
            "The file agrees with itself. Whose it is says its key, if you know the device's from elsewhere: "
            "--key compares them."
        )


def _head_in(file: Path, log: "TransparencyLog") -> tuple[int, bytes]:
    """The head in a signed checkpoint that was kept somewhere; never more is read than a checkpoint may have."""
    from vault.errors import NotFound, VaultError
    from vault.log.checkpoint import opened as opened_checkpoint

    verifier = log.verifier()
    if verifier is None:
        raise NotFound("Nothing was logged yet.", hint="The file is of another vault, or all of the log is gone.")
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_HEAD_BYTES + 1)
    except OSError as error:
        raise VaultError(f"{file} can't be read: {error.strerror}.") from error
    if len(data) > _MOST_HEAD_BYTES:
        raise UsageError(
            f"{file} is no checkpoint of a log: it is too large.",
            hint="Name a file with what `claw log show` printed.",
        )
    return opened_checkpoint(data.decode(errors="replace"), verifier).head


def _print_verified(verified: "Verified", verifier: "Verifier | None", *, as_json: bool) -> None:
    size, root = verified.head
    if as_json:
        said = {
            "ok": True,
            "origin": verified.origin,
            "size": size,
            "root": root.hex(),
            "cleared": verified.cleared,
        }
        _print_json({**said, "verifier_key": str(verifier) if verifier else ""})
        return
    gone = f"; what {_entries(verified.cleared)} said has gone, its time being over" if verified.cleared else ""
    print(f"The log is whole: {_entries(size)}{gone}.")
    if verifier:
        print(columns([("root", root.hex()), ("signed by", str(verifier))]))


def _as_dict(stored: "StoredEntry") -> dict[str, Any]:
    entry = msgspec.structs.asdict(stored.entry) if stored.entry else None
    return {"seq": stored.seq, "at_ms": stored.at_ms, "entry": entry, "unreadable": stored.unreadable}


def _print_json(value: dict[str, Any]) -> None:
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _plain(value: object) -> str:
    if value is None or value == "":
        return "-"
    return ("no", "yes")[value] if isinstance(value, bool) else sanitize_line(str(value), 10_000)


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count:,} entries"


def _when(ms: int | None) -> str:
    try:
        return datetime.datetime.fromtimestamp((ms or 0) / 1000).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "-"


@contextlib.contextmanager
def _progress() -> "Iterator[Progress]":
    """A bar on a terminal, once the work takes longer than a second."""
    with contextlib.ExitStack() as closing:
        begun = time.monotonic()
        shown: list[Progress] = []

        def tell(done: int, total: int) -> None:
            if not shown and sys.stderr.isatty() and time.monotonic() - begun > _SILENT_S:
                from rich.console import Console as Terminal
                from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
                from rich.progress import Progress as Bars

                parts = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
                bars = closing.enter_context(Bars(*parts, console=Terminal(stderr=True), transient=True))
                task = bars.add_task("", total=total)
                shown.append(lambda done, total: bars.update(task, completed=done, total=total))
            for show in shown:
                show(done, total)

        yield tell
