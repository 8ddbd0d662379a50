"""`claw skill`: list, inspect, import, validate, enable, disable, remove or run skills."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from cli import skill_adapters, skill_examples, skill_run, skill_train
from cli.console import Console, columns, size
from cli.errors import UsageError
from vault.errors import NoVault
from vault.sanitize import sanitize, sanitize_line

if TYPE_CHECKING:
    from skills.candidate import Candidate
    from skills.library import Library
    from skills.skill_file import Requests
    from vault.skill_store import SkillRecord

__all__ = ["configure", "run"]

Result = TypeVar("Result")

_LABELS = {
    "tools": "tools",
    "egress": "talking to",
    "fs": "files",
    "vault": "what the vault holds of",
    "train": "learning from its use",
}
_NOTHING_FOUND = "Nothing stood out, which says little: what keeps a skill from harm is that it is granted nothing."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    verbs = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")

    def add(name: str, summary: str, work: Callable[[argparse.Namespace, Console], int]) -> argparse.ArgumentParser:
        child = verbs.add_parser(name, help=summary, description=summary)
        child.set_defaults(work=work)
        return child

    def of_one(child: argparse.ArgumentParser) -> argparse.ArgumentParser:
        child.add_argument("name", metavar="NAME")
        return child

    add("list", "show the skills there are", _list).add_argument("--json", action="store_true")
    of_one(add("inspect", "show what a skill says, asks for and holds", _inspect)).add_argument(
        "--json", action="store_true"
    )
    importing = add("import", "look at a skill, and keep it if you agree", _import)
    importing.add_argument("path", type=Path, metavar="DIR|ARCHIVE")
    importing.add_argument("--yes", action="store_true", help="agree to it unseen")
    validating = add("validate", "check the files of a skill that you write", _validate)
    validating.add_argument("path", type=Path, metavar="DIR|ARCHIVE")
    validating.add_argument("--json", action="store_true")
    of_one(add("enable", "let a skill be used", _enable))
    of_one(add("disable", "keep a skill, and don't let it be used", _disable))
    removing = of_one(add("rm", "remove a skill and its files", _remove))
    removing.add_argument("--yes", action="store_true", help="don't ask")
    told = "what skills can be trained on: show, add, import or delete it"
    skill_examples.configure(verbs.add_parser("examples", help=told, description=f"{told[0].upper()}{told[1:]}."))
    told = "what was trained of examples: show, use, roll back, export or delete it"
    skill_adapters.configure(verbs.add_parser("adapters", help=told, description=f"{told[0].upper()}{told[1:]}."))
    skill_run.configure(add("run", "let a skill work on files that you name", skill_run.run))
    skill_train.configure(add("train", "learn from a skill's examples, on this machine", skill_train.run))
    parser.epilog = "A skill is granted nothing by being here: what it asks for is asked of you when it is used."


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Run the action."""
    return int(arguments.work(arguments, console))


def _validate(arguments: argparse.Namespace, console: Console) -> int:
    from skills.candidate import read

    candidate = read(arguments.path)
    refused = any(problem.refused for problem in candidate.problems)
    if arguments.json:
        print(msgspec.json.encode({"ok": not refused, **_as_json(candidate)}).decode())
        return int(refused)
    for line in _complaints(candidate):
        print(line)
    if not refused:
        console.say(f"{sanitize_line(candidate.folder)} can be imported ({_extent(candidate)}).")
    return int(refused)


def _import(arguments: argparse.Namespace, console: Console) -> int:
    from skills.candidate import read
    from skills.errors import SkillRefused
    from skills.library import Library, refuse_shadow

    candidate = read(arguments.path)
    refuse_shadow(candidate.folder)
    if candidate.skill is None:
        for line in _complaints(candidate):
            console.say(line)
        raise SkillRefused("The skill can't be used as it is; nothing was imported.")
    with console.open_vault(create=True) as vault:
        library = Library(vault)
        changed = library.changes(candidate)
        if changed == []:
            console.say(f"{candidate.skill.name} is here already, with the same files.")
            return 0
        for line in _described(candidate, changed):
            console.say(line)
        if not arguments.yes:
            if not console.can_ask:
                raise UsageError("Nobody can be asked whether that may be imported.", hint="To agree unseen: --yes")
            if not console.confirm("Keep it as it is now, and let it be used?"):
                console.say("Nothing was imported.")
                return 1
        record = library.add(candidate, str(Path(arguments.path).resolve()))
    console.say(
        f"{record.name} can be used. Its files are kept in the vault; what they come from isn't read again."
    )
    return 0


def _list(arguments: argparse.Namespace, console: Console) -> int:
    from skills import bundled
    from skills.library import Library, bundled_record

    try:
        with console.open_vault() as vault:
            library = Library(vault)
            records = [*library.bundled(), *library.all()]
    except NoVault:
        records = [bundled_record(name) for name in bundled.names()]
    if arguments.json:
        print(msgspec.json.encode(records).decode())
    else:
        rows = [(record.name, _state(record), sanitize_line(record.source, 60)) for record in records]
        print(columns([("NAME", "STATE", "FROM"), *rows]))
    return 0


def _inspect(arguments: argparse.Namespace, console: Console) -> int:
    from skills.bundled import is_bundled

    def look(library: "Library") -> "tuple[SkillRecord, Candidate]":
        return library.record(arguments.name), library.candidate(arguments.name)

    record, candidate = _with(console, look)
    if arguments.json:
        print(msgspec.json.encode({"record": record, **_as_json(candidate)}).decode())
        return 0
    origin = (
        "comes with the program" if is_bundled(record.name) else f"imported from {sanitize_line(record.source)}"
    )
    print(f"{record.name}: {_state(record)}, {origin}")
    for line in _described(candidate, None):
        print(line)
    if candidate.skill:
        print(f"\n{sanitize(candidate.skill.body).rstrip()}")
    return 0


def _enable(arguments: argparse.Namespace, console: Console) -> int:
    _with(console, lambda library: library.enable(arguments.name, enabled=True))
    console.say(f"{arguments.name} can be used.")
    return 0


def _disable(arguments: argparse.Namespace, console: Console) -> int:
    _with(console, lambda library: library.enable(arguments.name, enabled=False))
    console.say(f"{arguments.name} is kept, and can't be used.")
    return 0


def _remove(arguments: argparse.Namespace, console: Console) -> int:
    def remove(library: "Library") -> str | None:
        library.candidate(arguments.name)
        if not arguments.yes:
            if not console.can_ask:
                raise UsageError(
                    "Nobody can be asked whether it may be removed.", hint="To remove it unasked: --yes"
                )
            if not console.confirm(f"Remove {arguments.name} and its files?"):
                return None
        return library.remove(arguments.name)

    left = _with(console, remove)
    if left is None:
        console.say("Nothing was removed.")
        return 1
    console.say(f"{arguments.name} was removed.")
    if left:
        console.say(left)
    return 0


def _with(console: Console, work: "Callable[[Library], Result]") -> "Result":
    from skills.library import Library

    with console.open_vault() as vault:
        return work(Library(vault))


def _described(candidate: "Candidate", changed: list[str] | None) -> list[str]:
    """What a person has to know before they agree."""
    skill = candidate.skill
    lines = []
    if skill:
        lines += [f"{skill.name}: {sanitize_line(skill.description, 1024)}"]
        lines += [f"  {label}: {sanitize_line(text)}" for label, text in _particulars(candidate)]
        asked = _asked(skill.requests)
        lines += ["It asks for, and isn't granted by this:", *asked] if asked else ["It asks for nothing."]
    lines.append(f"Its files ({_extent(candidate)}):")
    lines += [f"  {size(len(candidate.files[name])):>9}  {sanitize_line(name)}" for name in sorted(candidate.files)]
    if changed is not None:
        lines.append(f"Changed since you agreed to it: {', '.join(sanitize_line(name) for name in changed)}.")
    complaints = _complaints(candidate)
    return [*lines, *(["Look at:", *complaints] if complaints else [_NOTHING_FOUND])]


def _particulars(candidate: "Candidate") -> list[tuple[str, str]]:
    skill = candidate.skill
    if skill is None:
        return []
    own = [(key, value) for key, value in skill.metadata.items() if not key.startswith("openclaw-core.")]
    found = [("licence", skill.licence), ("needs", skill.compatibility), *own, ("digest", candidate.digest)]
    return [(sanitize_line(label), text) for label, text in found if text]


def _asked(requests: "Requests") -> list[str]:
    given = msgspec.structs.asdict(requests)
    return [f"  {label}: {sanitize_line(', '.join(given[what]))}" for what, label in _LABELS.items() if given[what]]


def _complaints(candidate: "Candidate") -> list[str]:
    problems = [
        f"  {'WRONG' if problem.refused else 'note '}  SKILL.md, line {problem.line}: {problem.text}"
        for problem in candidate.problems
    ]
    findings = [
        f"  look   {sanitize_line(finding.file)}, line {finding.line}: {finding.what}"
        + (f"\n           {finding.text}" if finding.text else "")
        for finding in candidate.findings
    ]
    return problems + findings


def _as_json(candidate: "Candidate") -> dict[str, object]:
    return {
        "skill": candidate.skill,
        "digest": candidate.digest,
        "files": {name: len(data) for name, data in candidate.files.items()},
        "problems": [problem._asdict() for problem in candidate.problems],
        "findings": [finding._asdict() for finding in candidate.findings],
    }


def _extent(candidate: "Candidate") -> str:
    count = len(candidate.files)
    return f"{count} file{'s' * (count != 1)}, {size(candidate.size)}"


def _state(record: "SkillRecord") -> str:
    return "enabled" if record.enabled else "disabled"
