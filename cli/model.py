"""`claw model`: list, pull, import, verify, use, remove or measure models."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import Console
from vault.errors import ClawError, NoVault
from vault.sanitize import sanitize_line

if TYPE_CHECKING:
    from agent.models import Catalogue, GgufHeader, Registered

__all__ = ["configure", "open_catalogue", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    verbs = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")

    def add(name: str, summary: str, work: Callable[[argparse.Namespace, Console], int]) -> argparse.ArgumentParser:
        child = verbs.add_parser(name, help=summary, description=summary)
        child.set_defaults(work=work)
        return child

    listing = add("list", "show the models there are", _list)
    listing.add_argument("--json", action="store_true", help="print one JSON array")

    importing = add("import", "copy a GGUF file from this machine", _import)
    importing.add_argument("file", type=Path, metavar="FILE")
    importing.add_argument("--name", help="what to call it (made of the file's name when not given)")

    pulling = add("pull", "fetch a GGUF file from the Hugging Face hub or an https address", _pull)
    pulling.add_argument("source", metavar="SOURCE", help="hf:OWNER/REPO/FILE.gguf[@REVISION] or https://HOST/FILE")
    pulling.add_argument("--name", help="what to call it (made of the file's name when not given)")
    pulling.add_argument("--sha256", metavar="HEX", help="the digest that its publisher states")
    pulling.add_argument("--unverified", action="store_true", help="take it although nobody states its digest")
    pulling.epilog = (
        "HF_TOKEN gives access to gated models, HF_ENDPOINT names a mirror of the hub. An interrupted pull goes on "
        "where it ended when the same command is run again."
    )

    verifying = add("verify", "read a model's file again and compare its digest", _verify)
    which = verifying.add_mutually_exclusive_group()
    which.add_argument("name", nargs="?", metavar="NAME", help="the default model when not given")
    which.add_argument("--all", action="store_true", help="every model")

    using = add("use", "make a model the one that answers", _use)
    using.add_argument("name", metavar="NAME")

    removing = add("rm", "remove a model and its file", _remove)
    removing.add_argument("name", metavar="NAME")
    removing.add_argument("--yes", action="store_true", help="don't ask")

    measuring = add("bench", "measure how fast a model runs here", _bench)
    measuring.add_argument("name", nargs="?", metavar="NAME", help="the default model when not given")
    measuring.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Run the action."""
    return int(arguments.work(arguments, console))


def _list(arguments: argparse.Namespace, console: Console) -> int:
    with open_catalogue(console) as catalogue:
        records = catalogue.all()
    default = console.settings.model.default
    if arguments.json:
        import msgspec

        rows = [{**msgspec.structs.asdict(record), "default": record.name == default} for record in records]
        print(msgspec.json.encode(rows).decode())
        return 0
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("", "name", "size", "weights", "packing", "context", "licence", "from"):
        table.add_column(heading, justify="right" if heading in ("size", "weights", "context") else "left")
    for record in records:
        table.add_row(
            "*" if record.name == default else "",
            record.name,
            _size(record.bytes),
            _count(record.parameters),
            record.quantization,
            f"{record.context_length:,}",
            sanitize_line(record.licence, 40) or "not stated",
            sanitize_line(record.source, 80),
        )
    _print_table(table)
    if not any(record.name == default for record in records):
        console.say(f"The default model {sanitize_line(default)} isn't there; `claw model use NAME` chooses one.")
    return 0


def _import(arguments: argparse.Namespace, console: Console) -> int:
    from cli.model_progress import showing_progress

    with open_catalogue(console, writing=True) as catalogue, showing_progress(console) as progress:
        accepted = catalogue.import_file(
            arguments.file, name=arguments.name, probe=_shown_and_tried(console), progress=progress
        )
    _show_accepted(accepted, console)
    return 0


def _pull(arguments: argparse.Namespace, console: Console) -> int:
    from agent.models import DEFAULT_ENDPOINT, Catalogue, Hub, Pull, checked_sha256, parse_source, pull_model
    from cli.model_progress import showing_progress
    from vault.budget import Budget
    from vault.egress import Egress, EgressJournal
    from vault.pause import PauseLatch

    wanted = Pull(
        parse_source(arguments.source),
        name=arguments.name,
        sha256=checked_sha256(arguments.sha256) if arguments.sha256 else "",
        unverified=arguments.unverified,
    )
    hub = Hub(os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT, os.environ.get("HF_TOKEN", "").strip())
    network, latch = console.settings.network, PauseLatch(console.home)
    latch.check()  # before a passphrase is asked for
    budget = Budget(network.daily_send_limit)
    with (
        console.open_vault(create=True) as vault,
        Egress(network, EgressJournal(vault.database, vault.log, budget, vault.closing), latch) as egress,
        showing_progress(console) as progress,
    ):
        accepted = pull_model(
            wanted,
            catalogue=Catalogue(console.home, vault.models),
            egress=egress,
            hub=hub,
            probe=_shown_and_tried(console),
            progress=progress,
        )
    _show_accepted(accepted, console)
    return 0


def _verify(arguments: argparse.Namespace, console: Console) -> int:
    from cli.model_progress import showing_progress

    worst = 0
    with open_catalogue(console) as catalogue, showing_progress(console) as progress:
        names = [arguments.name or console.settings.model.default]
        if arguments.all:
            names = [record.name for record in catalogue.all()]
        for name in names:
            try:
                catalogue.verify(name, progress)
            except ClawError as error:
                if not arguments.all:
                    raise
                # The others are to be checked all the same; the exit code is the last word.
                console.say(f"{name}: {error.message}\n      {error.hint}")
                worst = max(worst, error.exit_code)
            else:
                print(f"{name}: verified, sha256 {catalogue.get(name).sha256}")
    return worst


def _use(arguments: argparse.Namespace, console: Console) -> int:
    from vault.settings import set_setting

    with open_catalogue(console) as catalogue:
        record = catalogue.get(arguments.name)
    set_setting(console.home.config_file, "model.default", record.name)
    console.say(f"{record.name} answers from now on.")
    return 0


def _remove(arguments: argparse.Namespace, console: Console) -> int:
    from agent.errors import RequestRefused
    from agent.models import EMBEDDED_NAME
    from vault.settings import set_setting

    with open_catalogue(console) as catalogue:
        record = catalogue.get(arguments.name)
        if not arguments.yes and record.name != EMBEDDED_NAME:
            if not console.can_ask:
                raise RequestRefused(
                    "Nobody can be asked whether the model may be removed.", hint="To remove it unasked: --yes"
                )
            if not console.confirm(f"Remove {record.name} ({_size(record.bytes)})?"):
                console.say("Nothing was removed.")
                return 1
        catalogue.remove(record.name)
    console.say(f"{record.name} was removed.")
    if console.settings.model.default == record.name:
        set_setting(console.home.config_file, "model.default", EMBEDDED_NAME)
        console.say(f"It was the default; now {EMBEDDED_NAME} answers.")
    return 0


def _bench(arguments: argparse.Namespace, console: Console) -> int:
    from cli.model_bench import run_bench

    return run_bench(arguments.name, console, as_json=arguments.json)


@contextlib.contextmanager
def open_catalogue(console: Console, *, writing: bool = False) -> "Iterator[Catalogue]":
    """The catalogue with the vault's models; without a vault, the embedded one alone, or a new vault to write."""
    from agent.models import Catalogue

    try:
        vault = console.open_vault(create=writing)
    except NoVault:
        if writing:
            raise
        yield Catalogue(console.home, None)
        return
    with vault:
        yield Catalogue(console.home, vault.models)


def _shown_and_tried(console: Console) -> "Callable[[int], object]":
    """The trial load, before which the person sees what the file says of itself."""
    from agent.inference import probe
    from agent.models import read_header

    def shown_and_tried(descriptor: int) -> object:
        header = read_header(descriptor)
        for label, value in _description(header):
            console.say(f"  {label:<14}{value}")
        return probe(descriptor, console.settings.inference)

    return shown_and_tried


def _show_accepted(accepted: "Registered", console: Console) -> None:
    console.say(f"  {'sha256':<14}{accepted.record.sha256}")
    print(accepted.record.name)
    console.say(f"Use it: claw model use {accepted.record.name}")


def _description(header: "GgufHeader") -> list[tuple[str, str]]:
    return [
        ("architecture", sanitize_line(header.architecture, 40)),
        ("weights", f"{_count(header.parameters)}, packed as {sanitize_line(header.quantization, 40)}"),
        ("context", f"{header.context_length:,} tokens"),
        ("size", _size(header.file_bytes)),
        ("licence", sanitize_line(header.licence, 80) or "not stated"),
        ("chat template", "yes" if header.chat_template else "none: it completes texts rather than answers"),
    ]


def _print_table(table: object) -> None:
    from rich.console import Console as Terminal

    # Piped, a table isn't folded to eighty columns: programs read it line by line.
    Terminal(width=None if sys.stdout.isatty() else 240, highlight=False, markup=False).print(table)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{count / 1e6:.1f} MB"


def _count(parameters: int) -> str:
    if parameters >= 10**9:
        return f"{parameters / 1e9:.1f} B"
    return f"{parameters / 1e6:.0f} M" if parameters >= 10**6 else f"{parameters:,}"
