"""`claw vault`: one small module per sub-verb."""

import argparse
import importlib
import keyword
from types import ModuleType

from cli.console import Console

__all__ = ["SUBVERBS", "configure", "run"]

SUBVERBS: dict[str, str] = {
    "init": "make the vault",
    "status": "where everything lies, how large it is, and what opens it",
    "unlock": "open it once, so that later commands need no question",
    "lock": "let nothing open it any more until you unlock it",
    "check": "verify all of it",
    "accept": "take it as it lies there, though it is older than what was last written",
    "retention": "how long things are kept",
    "erase": "remove for good a message, a conversation, a source, or everything",
    "slots": "what opens it: list, add, remove or try ways in",
    "passwd": "choose another passphrase",
    "rotate": "give it new keys, and encrypt everything anew",
    "backup": "write all of it, encrypted, to one file",
    "restore": "make a vault of a backup, or add what a backup holds",
    "export": "write all of it in open formats, not encrypted",
    "import": "take in an export, of ours or of ChatGPT",
}
"""The sub-verbs and what each does; the module of one is `cli.vault.<sub-verb>`."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    verbs = parser.add_subparsers(dest="vault_verb", metavar="VERB", required=True)
    for name, summary in SUBVERBS.items():
        child = verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        _module(name).configure(child)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry out the sub-verb."""
    return int(_module(arguments.vault_verb).run(arguments, console))


def _module(name: str) -> ModuleType:
    # `import` can't be a module's name.
    return importlib.import_module(f"cli.vault.{name}{'_' if keyword.iskeyword(name) else ''}")
