"""`claw limits`: show when learning may use this machine, and how much of it, or change that."""

import argparse
from typing import TYPE_CHECKING

import msgspec

from cli.console import Console, columns
from cli.errors import UsageError
from vault.errors import NoVault
from vault.sanitize import sanitize_line

if TYPE_CHECKING:
    from fl_client.limits import Reading, Spent

__all__ = ["configure", "run"]

_EPILOG = """\
limits:
  charger      on | off        wait for a charger
  idle         MINUTES | off   wait until it hasn't been used for so long
  unmetered    on | off        wait for a network that doesn't count bytes
  hours        22:00-06:00     between which times of the day; off for all day
  threads      N | half        CPU threads, or half of the cores
  memory       MIB | half      memory, or half of what is free
  disk         MIB | off       keep so much of the disk free
  temperature  DEGREES | off   stop above so many °C of the processor
  upload       MIB             send at most so much in a day
  minutes      N               train at most so long in a day
  cohort       N               take part in rounds of so many devices at least
  corrupt      N               of which so many may cheat together
  epsilon      E               privacy loss of a task in a year; then it is over

All are strict until you loosen them. What can't be told on this machine counts
as no. They hold while it trains, too: then it stops, and goes on later from its
last checkpoint.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    verbs = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    showing = verbs.add_parser("show", help="show every limit, what is so now, and whether it holds")
    showing.add_argument("--json", action="store_true")
    showing.set_defaults(work=_show)
    setting = verbs.add_parser("set", help="change one limit")
    setting.add_argument("name", metavar="NAME", help="which, as `claw limits show` lists it")
    setting.add_argument("value", metavar="VALUE", help="to what, such as off, half or 30")
    setting.add_argument("--yes", action="store_true", help="allow more than by default without asking")
    setting.set_defaults(work=_set)
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Run the action."""
    return int(arguments.work(arguments, console))


def _show(arguments: argparse.Namespace, console: Console) -> int:
    from fl_client.limits import Limits

    readings = Limits(console.settings.limits).readings(*_spent(console))
    waits = [reading.why for reading in readings if not reading.holds]
    if arguments.json:
        print(
            msgspec.json.encode(
                {"limits": [reading._asdict() for reading in readings], "holds": not waits}
            ).decode()
        )
        return 0
    print(columns([("LIMIT", "SET TO", "NOW", "HOLDS"), *map(_row, readings)]))
    console.say("\nLearning waits:\n  " + "\n  ".join(waits) if waits else "\nNo limit keeps it from learning now.")
    return 0


def _row(reading: "Reading") -> tuple[str, str, str, str]:
    now = sanitize_line(reading.now)  # a task may be in it, as its operator named it
    return reading.name, reading.limit, now, "yes" if reading.holds else "no"


def _spent(console: Console) -> "tuple[Spent, dict[str, float]]":
    """What learning took today, and each task's privacy loss this year; nothing where there is no vault yet."""
    from fl_client.limits import Spent
    from vault.learning_days import LearningDays

    try:
        with console.open_vault() as vault:
            from fl_client.participation.spent import spent_this_year

            used = LearningDays(vault.database).today()
            return Spent(used.uploaded, used.trained_s), spent_this_year(vault.database)
    except NoVault:
        return Spent(0, 0.0), {}


def _set(arguments: argparse.Namespace, console: Console) -> int:
    from fl_client.limits import Sources
    from fl_client.limits.choices import in_words, loosens, read, written
    from vault.settings import set_setting

    name = arguments.name
    value = read(name, arguments.value)
    if not arguments.yes and loosens(name, value, console.settings.limits, Sources.here()):
        if not console.can_ask:
            raise UsageError(
                f"That lets learning take more than it does by default ({name}), and nobody can be asked.",
                hint="To set it unasked: --yes",
            )
        if not console.confirm(
            f"That is more than learning takes by default. Set {name} to {in_words(name, value)}?"
        ):
            console.say("Nothing was changed.")
            return 1
    set_setting(console.home.config_file, *written(name, value))
    console.say(f"{name}: {in_words(name, value)}. It holds from now on.")
    return 0
