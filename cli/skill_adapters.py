"""`claw skill adapters`: list, use, roll back, switch off, export or delete what was trained of examples."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cli.console import Console, columns, counted, size
from cli.errors import UsageError
from vault.clock import local_time
from vault.errors import NoVault
from vault.sanitize import sanitize_line

if TYPE_CHECKING:
    from vault.adapter_store import AdapterRecord
    from vault.store import Vault

__all__ = ["configure"]

_SHOWN_OF_DIGEST = 12
_EPILOG = (
    "An adapter is trained for one skill and one model, and used while that skill is at work with that model: the "
    "newest, unless you say otherwise. What you say holds from the next turn on, also in a running assistant."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    verbs = parser.add_subparsers(dest="adapters_action", metavar="ACTION", required=True, title="actions")
    parser.epilog = _EPILOG

    def add(name: str, summary: str, work: Callable[[argparse.Namespace, Console], int]) -> argparse.ArgumentParser:
        child = verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        child.set_defaults(work=work)
        return child

    def of_skill(child: argparse.ArgumentParser) -> None:
        child.add_argument("skill", metavar="SKILL")
        child.add_argument("-m", "--model", metavar="MODEL", help="of several that it uses adapters with")

    listing = add("list", "list the adapters of a skill, or of all", _list)
    listing.add_argument("skill", metavar="SKILL", nargs="?")
    listing.add_argument("--json", action="store_true")
    add("use", "use an adapter, in the place of the one that its skill uses", _use).add_argument(
        "id", metavar="ID", help="as `list` shows it"
    )
    of_skill(add("rollback", "go back to the version before; from the first, to none", _roll_back))
    of_skill(add("off", "use none with a skill, and keep them", _off))
    export = add("export", "write an adapter to a GGUF file, in clear", _export)
    export.add_argument("id", metavar="ID", help="as `list` shows it")
    export.add_argument("file", type=Path, metavar="FILE", help="where to; nothing lies there")
    deleting = add("delete", "remove adapters for good", _delete)
    deleting.add_argument("ids", metavar="ID", nargs="+", help="as `list` shows them")
    deleting.add_argument("--yes", action="store_true", help="don't ask")


def _list(arguments: argparse.Namespace, console: Console) -> int:
    from skills.adapters import Adapters

    records: list[AdapterRecord] = []
    models: dict[str, str] = {}
    try:
        with console.open_vault() as vault:
            records, models = Adapters(vault).records(arguments.skill), _models(vault, console)
    except NoVault:
        pass
    if arguments.json:
        print(msgspec.json.encode(records).decode())
    elif not records:
        console.say("There are no adapters yet.")
    else:
        rows = [
            (
                record.id,
                record.skill,
                models.get(record.base_sha256, record.base_sha256[:_SHOWN_OF_DIGEST]),
                str(record.version),
                "in use" if record.active else "",
                f"{record.kind}, rank {record.rank}",
                sanitize_line(record.origin) or counted(record.examples, "example"),
                _losses(record),
                size(record.bytes),
                local_time(record.created_ms),
            )
            for record in records
        ]
        print(columns([("ID", "SKILL", "MODEL", "V", "", "KIND", "OF", "LOSS", "SIZE", "TRAINED"), *rows]))
    return 0


def _use(arguments: argparse.Namespace, console: Console) -> int:
    from skills.adapters import Adapters

    with console.open_vault() as vault:
        record = Adapters(vault).use(arguments.id)
    console.say(f"{record.skill} uses version {record.version} from its next turn on.")
    return 0


def _roll_back(arguments: argparse.Namespace, console: Console) -> int:
    from skills.adapters import Adapters

    with console.open_vault() as vault:
        before, after = Adapters(vault).roll_back(arguments.skill, _base(arguments, vault, console))
    now = f"version {after.version}" if after else "none: the model answers by itself"
    console.say(f"{before.skill} used version {before.version}. From its next turn on it uses {now}.")
    return 0


def _off(arguments: argparse.Namespace, console: Console) -> int:
    from skills.adapters import Adapters

    with console.open_vault() as vault:
        before = Adapters(vault).switch_off(arguments.skill, _base(arguments, vault, console))
    console.say(
        f"{before.skill} uses none from its next turn on. `claw skill adapters use {before.id}` does again."
    )
    return 0


def _export(arguments: argparse.Namespace, console: Console) -> int:
    from skills.adapters import Adapters

    with console.open_vault() as vault:
        record = Adapters(vault).export(arguments.id, arguments.file)
    console.say(
        f"Written to {sanitize_line(str(arguments.file))}, in clear. It says something of each of the "
        f"{counted(record.examples, 'example')} that it learned from: keep it where only you can read it."
    )
    return 0


def _delete(arguments: argparse.Namespace, console: Console) -> int:
    from skills.adapters import Adapters

    with console.open_vault() as vault:
        if not arguments.yes:
            if not console.can_ask:
                raise UsageError(
                    "Nobody can be asked whether that may be removed.", hint="To remove it unasked: --yes"
                )
            if not console.confirm(f"Remove {counted(len(arguments.ids), 'adapter')} for good?"):
                console.say("Nothing was removed.")
                return 1
        done = Adapters(vault).delete(arguments.ids)
    console.say(f"{counted(done.removed, 'adapter')} removed.")
    for record in done.unused:
        console.say(f"{record.skill} used version {record.version}; from its next turn on it uses none.")
    if done.left:
        console.say(done.left)
    return 0


def _base(arguments: argparse.Namespace, vault: "Vault", console: Console) -> str:
    """Digest of the model that was named; empty for none."""
    from agent.models.catalogue import Catalogue

    if not arguments.model:
        return ""
    return Catalogue(console.home, vault.models).get(arguments.model).sha256


def _models(vault: "Vault", console: Console) -> dict[str, str]:
    """The names of the models there are, by their digests."""
    from agent.models.catalogue import Catalogue

    return {record.sha256: record.name for record in Catalogue(console.home, vault.models).all()}


def _losses(record: "AdapterRecord") -> str:
    if record.loss_before is None or record.loss_after is None:
        return ""
    return f"{record.loss_before:.2f} > {record.loss_after:.2f}"
