"""`claw memory`: list, search, add or forget what the assistant remembers."""

import argparse
import sys
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from cli.console import Console, columns
from cli.errors import UsageError
from vault.errors import NoVault
from vault.sanitize import sanitize_line

if TYPE_CHECKING:
    from vault.note_store import Note

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    verbs = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    listing = verbs.add_parser("list", help="show every note")
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(work=_list)
    searching = verbs.add_parser("search", help="find notes by their words")
    searching.add_argument("words", metavar="WORDS")
    searching.add_argument("--json", action="store_true")
    searching.set_defaults(work=_search)
    showing = verbs.add_parser("show", help="show one note, whole")
    showing.add_argument("id", metavar="ID")
    showing.set_defaults(work=_show)
    adding = verbs.add_parser("add", help="remember a note, read from stdin or typed")
    adding.add_argument(
        "text", nargs="?", metavar="TEXT", help="- or nothing reads stdin, out of your shell's history"
    )
    adding.set_defaults(work=_add)
    forgetting = verbs.add_parser("forget", help="erase a note")
    forgetting.add_argument("id", metavar="ID")
    forgetting.set_defaults(work=_forget)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Run the action."""
    return int(arguments.work(arguments, console))


def _list(arguments: argparse.Namespace, console: Console) -> int:
    from vault.note_store import NoteStore

    try:
        with console.open_vault() as vault:
            found = NoteStore(vault.database).all()
    except NoVault:
        found = []
    return _print(found, arguments, console)


def _search(arguments: argparse.Namespace, console: Console) -> int:
    from vault.note_store import NoteStore

    with console.open_vault() as vault:
        return _print(NoteStore(vault.database).search(arguments.words), arguments, console)


def _print(notes: "list[Note]", arguments: argparse.Namespace, console: Console) -> int:
    if arguments.json:
        print(msgspec.json.encode([note._asdict() for note in notes]).decode())
    elif not notes:
        console.say("No note.")
    else:
        rows = [
            (note.id, datetime.fromtimestamp(note.created_ms / 1000).strftime("%Y-%m-%d"), sanitize_line(note.text))
            for note in notes
        ]
        print(columns(rows))
    return 0


def _show(arguments: argparse.Namespace, console: Console) -> int:
    from vault.note_store import NoteStore

    with console.open_vault() as vault:
        print(NoteStore(vault.database).get(arguments.id).text)
    return 0


def _add(arguments: argparse.Namespace, console: Console) -> int:
    from agent.attachments import read_text
    from vault.note_store import NoteStore

    text = arguments.text
    if text is None or text == "-":
        if sys.stdin.isatty() and text is None:
            raise UsageError("There is nothing to remember.", hint='claw memory add "Milk, on Friday"')
        text = read_text(sys.stdin.buffer, "Standard input")
    with console.open_vault(create=True) as vault:
        note = NoteStore(vault.database).add(text, "the person")
    console.say(f"It is noted ({note.id}).")
    return 0


def _forget(arguments: argparse.Namespace, console: Console) -> int:
    from vault.note_store import NoteStore

    with console.open_vault() as vault:
        left = NoteStore(vault.database).forget(arguments.id)
    console.say("It is forgotten.")
    if left:
        console.say(left)
    return 0
