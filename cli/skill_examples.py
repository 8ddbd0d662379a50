"""`claw skill examples`: list, show, add, import or delete what skills can be trained on."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cli.console import Console, columns, counted, size
from cli.errors import UsageError
from vault.clock import local_time
from vault.errors import NoVault
from vault.sanitize import sanitize, sanitize_line

if TYPE_CHECKING:
    from skills.examples import Examples
    from vault.store import Vault

__all__ = ["configure"]

_STDIN = Path("-")
_IMPORTED = "import:"
_EPILOG = (
    "Examples are highly sensitive: they are sealed in the vault, and stay on this device. Results that you accept "
    "or correct are kept as examples only after `claw config set skills.collect_examples true`."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    verbs = parser.add_subparsers(dest="examples_action", metavar="ACTION", required=True, title="actions")
    parser.epilog = _EPILOG

    def add(name: str, summary: str, work: Callable[[argparse.Namespace, Console], int]) -> argparse.ArgumentParser:
        child = verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        child.set_defaults(work=work)
        return child

    listing = add("list", "list the examples of a skill, or of all, without their texts", _list)
    listing.add_argument("skill", metavar="SKILL", nargs="?")
    listing.add_argument("--json", action="store_true")
    show = add("show", "show one example", _show)
    show.add_argument("id", metavar="ID", help="as `list` shows it")
    show.add_argument("--json", action="store_true")
    adding = add("add", "give an example", _add)
    adding.add_argument("skill", metavar="SKILL", help="the name of the skill that it is for")
    for flag, what in (("input", "goes in"), ("output", "should come out")):
        adding.add_argument(
            *(f"-{flag[0]}", f"--{flag}"),
            type=Path,
            required=True,
            metavar="FILE",
            help=f"the text that {what}; one of the two may be - for standard input",
        )
    importing = add("import", "take examples from a file of JSON lines, all of them or none", _import)
    importing.add_argument("skill", metavar="SKILL", help="the name of the skill that they are for")
    importing.add_argument("path", type=Path, metavar="FILE", help="a JSON object on each line")
    for flag, what in (("input", "goes in"), ("output", "should come out")):
        importing.add_argument(
            f"--{flag}-field",
            action="append",
            metavar="NAME",
            help=f"the field with what {what} ({flag}); given again, the texts are put one below the other",
        )
    importing.add_argument("--json", action="store_true")
    deleting = add("delete", "remove examples for good", _delete)
    deleting.add_argument("ids", metavar="ID", nargs="*", help="as `list` shows it")
    deleting.add_argument("--skill", metavar="SKILL", help="all examples of a skill")
    deleting.add_argument("--yes", action="store_true", help="don't ask")


def _list(arguments: argparse.Namespace, console: Console) -> int:
    try:
        with console.open_vault() as vault:
            records = _examples(vault, console).records(arguments.skill)
    except NoVault:
        records = []
    if arguments.json:
        print(msgspec.json.encode(records).decode())
    elif not records:
        of = f" of {sanitize_line(arguments.skill, 70)}" if arguments.skill else ""
        console.say(f"There are no examples{of} yet. `claw skill examples add` takes one, `import` a file of them.")
    else:
        rows = [
            (
                record.id,
                sanitize_line(record.skill, 64),
                record.kind.value,
                local_time(record.created_ms),
                size(record.input_bytes),
                size(record.output_bytes),
                sanitize_line(record.source.removeprefix(_IMPORTED), 60),
            )
            for record in records
        ]
        print(columns([("ID", "SKILL", "KIND", "KEPT", "INPUT", "OUTPUT", "FROM"), *rows]))
    return 0


def _show(arguments: argparse.Namespace, console: Console) -> int:
    with console.open_vault() as vault:
        example = _examples(vault, console).get(arguments.id)
    if arguments.json:
        print(msgspec.json.encode(example).decode())
        return 0
    source = sanitize_line(example.source.removeprefix(_IMPORTED))
    came = f"{example.kind} {local_time(example.created_ms)}" + (f", from {source}" if source else "")
    print(f"{example.id}: {example.skill}, {came}")
    for title, text in (("Input", example.input), ("Output", example.output)):
        print(f"\n{title}:\n{sanitize(text).rstrip()}")
    return 0


def _add(arguments: argparse.Namespace, console: Console) -> int:
    from skills.examples import check_name

    if arguments.input == _STDIN == arguments.output:
        raise UsageError("Standard input can't be both.", hint="Name a file for one of them.")
    check_name(arguments.skill)
    given, wanted = _text(arguments.input), _text(arguments.output)
    source = "" if arguments.input == _STDIN else arguments.input.name
    with console.open_vault(create=True) as vault:
        examples = _examples(vault, console)
        example_id = examples.add(arguments.skill, given, wanted, source=source)
        now = len(examples.records(arguments.skill))
    console.say(f"Kept as {example_id}. {arguments.skill} has {counted(now, 'example')} now.")
    return 0


def _import(arguments: argparse.Namespace, console: Console) -> int:
    from cli.model_progress import showing_progress
    from skills.example_lines import FIELDS, Fields, Reader
    from skills.examples import check_name

    check_name(arguments.skill)
    fields = Fields(tuple(arguments.input_field or FIELDS.input), tuple(arguments.output_field or FIELDS.output))
    Reader(fields)  # what is refused is so before anybody types a passphrase
    with console.open_vault(create=True) as vault, showing_progress(console) as display:
        examples = _examples(vault, console)
        done = examples.import_file(arguments.skill, arguments.path, fields, progress=display)
        now = len(examples.records(arguments.skill))
    if arguments.json:
        print(msgspec.json.encode(done._asdict()).decode())
        return 0
    known = f", {done.known:,} left out that were here already" if done.known else ""
    console.say(
        f"{counted(done.added, 'example')} imported{known}. {arguments.skill} has {counted(now, 'example')} now."
    )
    return 0


def _delete(arguments: argparse.Namespace, console: Console) -> int:
    if bool(arguments.ids) == bool(arguments.skill):
        raise UsageError(
            "Either ids or --skill say what is removed.", hint="`claw skill examples list` shows the ids."
        )
    with console.open_vault() as vault:
        examples = _examples(vault, console)
        ids = arguments.ids or [record.id for record in examples.records(arguments.skill)]
        if not arguments.yes and ids:
            if not console.can_ask:
                raise UsageError(
                    "Nobody can be asked whether that may be removed.", hint="To remove it unasked: --yes"
                )
            of = f" of {sanitize_line(arguments.skill, 70)}" if arguments.skill else ""
            if not console.confirm(f"Remove {counted(len(ids), 'example')}{of} for good?"):
                console.say("Nothing was removed.")
                return 1
        done = examples.delete(arguments.ids) if arguments.ids else examples.delete_all(arguments.skill)
    console.say(f"{counted(done.removed, 'example')} removed.")
    if done.left:
        console.say(done.left)
    if done.learned:
        learned = ", ".join(f"{adapter.skill} {adapter.version} ({adapter.id})" for adapter in done.learned)
        console.say(
            f"What was learned from them stays: {learned}. `claw skill adapters delete ID` removes that too."
        )
    return 0


def _examples(vault: "Vault", console: Console) -> "Examples":
    from skills.examples import Examples

    return Examples(vault, console.settings.skills)


def _text(path: Path) -> str:
    from agent.attachments import read_attachment, read_text

    return read_text(sys.stdin.buffer, "what was piped in") if path == _STDIN else read_attachment(path).text
