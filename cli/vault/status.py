"""`claw vault status`: where everything lies, how large it is, how strictly and how long it is kept, what left."""

import argparse
from typing import TYPE_CHECKING, Literal

import msgspec

from cli.console import Console, columns, size
from vault.clock import local_time
from vault.sanitize import sanitize

if TYPE_CHECKING:
    from vault.store import Vault
    from vault.survey import FileUse, KindUse

__all__ = ["configure", "describe", "run"]


_State = Literal["none", "locked", "unreadable", "open", "alarm"]


class _Anchor(msgspec.Struct, frozen=True):
    """The newest state that is remembered outside the database: changes ever, and entries of the log."""

    state: int
    log: int


class _Inside(msgspec.Struct, frozen=True):
    """What only the open vault can say."""

    alarm: str
    opened_by: str
    anchor: _Anchor | None
    rotated_ms: int
    kinds: "list[KindUse]"
    sent_today: int
    received_today: int
    sent: int
    received: int
    notices: int


class _Outside(msgspec.Struct, frozen=True):
    """What can be said without opening the vault."""

    folder: str
    exists: bool
    slots: list[str] = []
    bytes: int = 0
    problem: str = ""


class _Report(_Outside, frozen=True):
    """What `--json` prints."""

    files: "list[FileUse]" = []
    failed_unlocks: int = 0
    state: _State = "none"
    locked_why: str = ""
    inside: _Inside | None = None


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    parser.add_argument("--open", action="store_true", help="open the vault for it, even if you have to be asked")
    parser.add_argument("--notices", action="store_true", help="show what you haven't been told yet, and no more")
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print what can be said of the vault: all of it where it opens unasked."""
    if arguments.notices:
        return _notices(console, as_json=arguments.json)
    report = _report(console, ask=arguments.open)
    if arguments.json:
        print(msgspec.json.encode(report).decode())
    else:
        print(_in_words(report))
    return 0


def describe(console: Console) -> dict[str, object]:
    """What can be said of the vault without opening it, in short."""
    found = msgspec.structs.asdict(_outside(console))
    if not found["problem"]:
        del found["problem"]
    return found


def _outside(console: Console) -> _Outside:
    from vault.errors import ClawError
    from vault.keyslots import Keyslots
    from vault.slot_kinds import kind_of

    home = console.home
    if not home.vault.exists():
        return _Outside(str(home.vault), exists=False)
    slots: list[str] = []
    problem = ""
    try:
        slots = [kind_of(slot) for slot in Keyslots.read(home.keyslots).slots]
    except ClawError as error:
        problem = error.message
    if not home.database.exists():
        problem = f"The database {home.database.name} is missing; restore it from a backup."
    taken = sum(file.stat().st_size for file in home.vault.iterdir() if file.is_file())
    return _Outside(str(home.vault), exists=True, slots=slots, bytes=taken, problem=problem)


def _report(console: Console, *, ask: bool) -> _Report:
    from vault.attempts import FailedUnlocks
    from vault.errors import ClawError, Locked
    from vault.survey import files

    outside = _outside(console)
    report = _Report(
        **msgspec.structs.asdict(outside),
        files=files(console.home),
        failed_unlocks=FailedUnlocks(console.home).read().count,
    )
    if not outside.exists:
        return report
    try:
        with console.open_vault(ask=ask) as vault:
            state: _State = "alarm" if vault.alarm else "open"
            return msgspec.structs.replace(report, state=state, inside=_inside(vault))
    except ClawError as error:
        if error.exit_code != Locked.exit_code:
            return msgspec.structs.replace(report, state="unreadable", problem=outside.problem or error.message)
        return msgspec.structs.replace(report, state="locked", locked_why=error.message)


def _inside(vault: "Vault") -> _Inside:
    from vault.survey import kinds, traffic

    newest = vault.database.newest()
    passed = traffic(vault.database)
    return _Inside(
        alarm=vault.alarm,
        opened_by=vault.opened_by,
        anchor=_Anchor(newest.epoch, newest.log.size) if newest else None,
        rotated_ms=vault.rotated_ms,
        kinds=kinds(vault.database, vault.retention.rules()),
        sent_today=passed.sent_today,
        received_today=passed.received_today,
        sent=passed.sent,
        received=passed.received,
        notices=len(vault.notifications.unseen()),
    )


def _in_words(report: _Report) -> str:
    if not report.exists:
        return f"There is no vault in {report.folder} yet."
    lines = [
        ("folder", report.folder),
        ("size", size(report.bytes)),
        ("opens by", ", ".join(report.slots) or "nothing"),
        ("state", report.state + (f": {sanitize(report.locked_why)}" if report.locked_why else "")),
    ]
    if report.problem:
        lines.append(("PROBLEM", sanitize(report.problem)))
    if report.failed_unlocks:
        lines.append(("failures", f"{report.failed_unlocks} keys didn't fit since it was last opened"))
    rows = [(_short(file.path, report), size(file.bytes), file.what) for file in report.files]
    parts = [columns(lines), columns([("FILE", "SIZE", "WHAT"), *rows])]
    if report.inside:
        parts[1:1] = _inside_in_words(report.inside)
    elif not report.problem:
        parts.append("`claw vault status --open` opens it, and says what lies in it.")
    return "\n\n".join(parts)


def _short(path: str, report: _Report) -> str:
    return path.removeprefix(report.folder.removesuffix("vault"))


def _inside_in_words(inside: _Inside) -> list[str]:
    lines = [
        ("opened by", inside.opened_by),
        ("keys", f"made {local_time(inside.rotated_ms, '%Y-%m-%d')}"),
        ("anchor", f"change {inside.anchor.state:,}, log entry {inside.anchor.log:,}" if inside.anchor else "none"),
        ("sent", f"{size(inside.sent_today)} today, {size(inside.sent)} ever"),
        ("received", f"{size(inside.received_today)} today, {size(inside.received)} ever"),
    ]
    if inside.alarm:
        lines.insert(0, ("ALARM", sanitize(inside.alarm)))
    if inside.notices:
        lines.append(("notices", f"{inside.notices}: `claw vault status --notices` shows them"))
    rows = [(use.kind, f"{use.rows:,}", size(use.bytes), use.data_class, use.kept) for use in inside.kinds]
    return [columns(lines), columns([("WHAT", "RECORDS", "SIZE", "CLASS", "KEPT"), *rows])]


def _notices(console: Console, *, as_json: bool) -> int:
    from cli.notices import show

    with console.open_vault() as vault:
        if as_json:
            unseen = vault.notifications.unseen()
            print(msgspec.json.encode([{"at_ms": n.at_ms, "event": n.event} for n in unseen]).decode())
            if not vault.alarm:
                vault.notifications.mark_seen(unseen)
        elif not show(vault, console):
            console.say("There is nothing that you haven't been told.")
    return 0
