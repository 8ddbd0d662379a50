"""`claw fl join`: belong to a federation, by an invite; nothing is learned by that."""

import argparse
import asyncio
import sys
from pathlib import Path

import msgspec

from cli.console import Console
from cli.errors import UsageError

__all__ = ["configure", "run"]

_MOST_BYTES = 8192
_EPILOG = """\
examples:
  claw fl join 'claw-join:…'
  claw fl join - < invite.txt
An invite is a secret: whoever has it can join in your place. `-` keeps it out of
your shell's history.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    parser.add_argument("invite", metavar="INVITE", help="as you were given it; `-` reads it from stdin")
    parser.add_argument("--yes", action="store_true", help="agree to what it shows, unasked")
    parser.add_argument(
        "--wait", type=float, default=20.0, metavar="SECONDS", help="for the registrar's answer (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object about it")
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Show what it means, ask, join."""
    from fl_client.participation.desk import door_of
    from fl_client.participation.membership import Membership, invited, joining_text

    invite = _invite(arguments.invite)
    federation = invited(invite)
    text = joining_text(federation)
    console.say(text)
    if not arguments.yes and not console.can_ask:
        raise UsageError("Nobody can be asked whether you agree.", hint="To agree to it unasked: --yes")
    if not (arguments.yes or console.confirm(f"\nJoin {federation.name}?")):
        console.say("Nothing was sent, and nothing was kept.")
        return 1
    with console.open_vault(create=True) as vault:
        membership = Membership(vault)
        record = membership.prepare(invite, text)

        async def ask() -> bool:
            async with door_of(vault, console.settings) as door:
                return await membership.ask(door, record, max(0.0, arguments.wait))

        admitted = asyncio.run(ask())
    if arguments.json:
        print(msgspec.json.encode({"federation": record.id, "name": record.name, "admitted": admitted}).decode())
    elif admitted:
        console.say(f"This device belongs to {record.name}. `claw consent show` lists what it offers.")
    else:
        console.say(f"{record.name} was asked, and hasn't answered yet. `claw fl status` asks again.")
    return 0


def _invite(given: str) -> str:
    if given != "-":
        path = Path(given)
        if not given.startswith("claw-join:") and path.is_file():
            return path.read_text("utf-8", "replace")[:_MOST_BYTES]
        return given
    return sys.stdin.buffer.read(_MOST_BYTES).decode("utf-8", "replace")
