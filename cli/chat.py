"""`claw chat`: look through, and tidy, the conversations in the vault."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cli.arguments import number_at_least
from cli.console import Console, columns, counted
from cli.errors import UsageError
from cli.working import Working
from vault.clock import local_time
from vault.sanitize import sanitize, sanitize_line

if TYPE_CHECKING:
    from vault.conversations import Conversations
    from vault.messages import Message, MessageId, Session
    from vault.portability.departure import Departure
    from vault.store import Vault

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    verbs = parser.add_subparsers(dest="chat_verb", metavar="VERB", required=True)
    listing = verbs.add_parser("list", help="conversations, the one used last first")
    listing.add_argument("-n", type=number_at_least(1), default=50, metavar="N", help="how many at most (50)")
    listing.add_argument("--archived", action="store_true", help="those that were archived, instead")
    listing.add_argument("--json", action="store_true")
    show = verbs.add_parser("show", help="one conversation")
    show.add_argument("session", metavar="SESSION", nargs="?", help="id or title; the one used last if not given")
    show.add_argument("--json", action="store_true")
    search = verbs.add_parser("search", help="find messages by their words")
    search.add_argument("words", metavar="WORDS", nargs="+")
    search.add_argument("-n", type=number_at_least(1), default=20, metavar="N", help="how many at most (20)")
    search.add_argument("--archived", action="store_true", help="in archived conversations, instead")
    search.add_argument("--json", action="store_true")
    rename = verbs.add_parser("rename", help="give a conversation another title")
    rename.add_argument("session", metavar="SESSION", help="id or title")
    rename.add_argument("title", metavar="TITLE")
    fork = verbs.add_parser("fork", help="copy a conversation, up to a message, into one of its own")
    fork.add_argument("session", metavar="SESSION", help="id or title")
    fork.add_argument("--at", metavar="MESSAGE", help="id of the last message to copy; the newest if not given")
    export = verbs.add_parser("export", help="write a conversation out in the clear, as Markdown or JSON")
    export.epilog = "The log takes note of it, in numbers, wherever it goes. To only read it: claw chat show"
    export.add_argument("session", metavar="SESSION", help="id or title")
    export.add_argument(
        "--format",
        choices=("markdown", "json"),
        default="markdown",
        help="markdown (the default): the path in use; json: all of it, with where each reply came from",
    )
    export.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="a new file; standard output if not given"
    )
    delete = verbs.add_parser("delete", help="remove conversations for good")
    delete.add_argument("sessions", metavar="SESSION", nargs="+", help="id or title")
    delete.add_argument("--yes", action="store_true", help="don't ask")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry out the sub-verb."""
    with console.open_vault() as vault:
        kept = vault.conversations
        match arguments.chat_verb:
            case "list":
                _list(kept, arguments, console)
            case "show":
                _show(kept, arguments)
            case "search":
                _search(kept, arguments, console)
            case "rename":
                _rename(kept, arguments)
            case "fork":
                session = kept.find(arguments.session)
                fork = kept.fork(session.id, _message_id(kept, session, arguments.at), f"{session.title} (fork)")
                print(fork.id)
            case "export":
                _export(vault, arguments, console)
            case "delete":
                return _delete(vault, arguments, console)
    return 0


def _list(kept: "Conversations", arguments: argparse.Namespace, console: Console) -> None:
    sessions = kept.sessions(arguments.n, archived=arguments.archived)
    if arguments.json:
        print(msgspec.json.encode(sessions).decode())
        return
    archive = 0 if arguments.archived else len(kept.sessions(sys.maxsize, archived=True))
    if sessions:
        _print_sessions(sessions)
    elif arguments.archived:
        console.say("No conversation is archived.")
    elif not archive:
        console.say("There is no conversation yet.")
    if archive:
        console.say(f"{archive:,}{' more' if sessions else ''} in the archive: claw chat list --archived")


def _print_sessions(sessions: "list[Session]") -> None:
    rows = [(s.id, local_time(s.updated_ms), str(s.messages), sanitize(s.title)) for s in sessions]
    print(columns([("SESSION", "USED", "MESSAGES", "TITLE"), *rows]))


def _show(kept: "Conversations", arguments: argparse.Namespace) -> None:
    from vault.errors import NotFound

    session = kept.find(arguments.session) if arguments.session else kept.newest()
    if session is None:
        if kept.sessions(1, archived=True):
            raise NotFound("Every conversation is archived.", hint="To list them: claw chat list --archived")
        raise NotFound("There is no conversation yet.", hint="Begin one: claw, or claw ask QUESTION")
    if arguments.json:
        print(_as_json(session, kept.tree(session.id)))
    else:
        print(_as_markdown(session, kept.path(session.id)))


def _search(kept: "Conversations", arguments: argparse.Namespace, console: Console) -> None:
    hits = kept.search(" ".join(arguments.words), arguments.n, archived=arguments.archived)
    if arguments.json:
        print(msgspec.json.encode(hits).decode())
    elif hits:
        for hit in hits:
            said = " ".join(sanitize(hit.snippet).split())
            print(f"{hit.session_id}  {local_time(hit.created_ms)}  {hit.role}: {said}")
    else:
        console.say("No message holds these words.")
        if not arguments.archived and (
            more := len(kept.search(" ".join(arguments.words), sys.maxsize, archived=True))
        ):
            console.say(f"{more:,} more in the archive: claw chat search --archived {shlex.join(arguments.words)}")


def _rename(kept: "Conversations", arguments: argparse.Namespace) -> None:
    title = sanitize_line(arguments.title)
    if not title:
        raise UsageError("A title can't be empty.")
    kept.rename(kept.find(arguments.session).id, title)


def _export(vault: "Vault", arguments: argparse.Namespace, console: Console) -> None:
    from cli.unlogged import say_if_unlogged
    from vault.portability.departure import Taken
    from vault.portability.files import staged_file

    kept = vault.conversations
    session = kept.find(arguments.session)
    as_json = arguments.format == "json"
    messages = kept.tree(session.id) if as_json else kept.path(session.id)
    text = f"{_as_json(session, messages) if as_json else _as_markdown(session, messages)}\n"
    files = sum(len(message.attachments) for message in messages) if as_json else 0  # Markdown names them alone
    description = f"a conversation: {counted(len(messages), 'message')}, {counted(files, 'attached file')}"
    departure = _departure(vault, arguments.format, with_files=bool(files))
    if arguments.output is None:
        with departure:
            departure.prepare(description)
            departure.finish(Taken(description, len(messages), len(text.encode(errors="replace"))))
        say_if_unlogged(vault, console)
        print(text, end="")  # and where that fails, somebody may have read the beginning
        return
    with departure, staged_file(arguments.output) as file:
        departure.prepare(description)
        file.write(text.encode())
        departure.finish(Taken(description, len(messages), file.bytes, file.sha256))
    say_if_unlogged(vault, console)
    console.say(f"Written in the clear to {arguments.output}.")


def _departure(vault: "Vault", form: str, *, with_files: bool) -> "Departure":
    from vault.classes import DataClass
    from vault.log import Action
    from vault.portability.departure import Departure

    data_class = DataClass.HIGHLY_SENSITIVE if with_files else DataClass.MEDIUM
    return Departure(vault, Action.EXPORT, f"a conversation as {form}, not encrypted", data_class=data_class)


def _delete(vault: "Vault", arguments: argparse.Namespace, console: Console) -> int:
    found = {session.id: session for session in map(vault.conversations.find, arguments.sessions)}
    titles = ", ".join(f"“{sanitize(session.title)}”" for session in found.values())
    if not arguments.yes:
        if not console.can_ask:
            raise UsageError("Nobody can be asked whether that may be removed.", hint="To remove it unasked: --yes")
        if not console.confirm(f"Remove {titles} for good?"):
            console.say("Nothing was removed.")
            return 1
    with Working(console, "removing"):
        receipt = vault.erasure.carry_out(vault.erasure.of_sessions(list(found.values())))
    console.say(f"Removed {titles}.")
    if receipt.left:
        console.say(receipt.left)
    return 0


def _message_id(kept: "Conversations", session: "Session", wanted: str | None) -> "MessageId | None":
    from vault.errors import NotFound

    if wanted is None:
        return None
    for message in kept.tree(session.id):
        if message.id == wanted:
            return message.id
    raise NotFound(
        f"There is no message {wanted!r} in this conversation.", hint="`claw chat show --json` lists them."
    )


def _as_json(session: "Session", messages: "list[Message]") -> str:
    # The token ids mean something to one model's cache alone; the text is there.
    plain = [
        msgspec.structs.replace(m, generation=msgspec.structs.replace(m.generation, tokens=None))
        if m.generation
        else m
        for m in messages
    ]
    return msgspec.json.format(msgspec.json.encode({"session": session, "messages": plain}), indent=2).decode()


def _as_markdown(session: "Session", messages: "list[Message]") -> str:
    parts = [f"# {sanitize(session.title)}", f"_{local_time(session.created_ms)} · {session.id}_"]
    if session.system_prompt:
        parts.append(f"> {sanitize(session.system_prompt)}".replace("\n", "\n> "))
    for message in messages:
        heading = "You" if message.role == "user" else "Assistant"
        if message.generation is not None:
            heading += f" ({sanitize(message.generation.model_name)})"
        if message.status in ("cancelled", "interrupted", "streaming"):
            heading += " — cut off"
        parts.append(f"## {heading}")
        parts.append(sanitize(message.text))
        parts += [f"_Attached: {sanitize(a.name)}, {len(a.text):,} characters_" for a in message.attachments]
    return "\n\n".join(parts)
