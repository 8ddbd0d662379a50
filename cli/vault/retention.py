"""`claw vault retention`: how long things are kept."""

import argparse
from typing import TYPE_CHECKING

import msgspec

from cli.console import Console, columns
from cli.errors import UsageError
from cli.working import Working
from vault.sanitize import sanitize_line

if TYPE_CHECKING:
    from vault.retention import Retained, Retention, Rule

__all__ = ["configure", "run"]

_FOREVER = "forever"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    parser.add_argument("--json", action="store_true")
    verbs = parser.add_subparsers(dest="retention_verb", metavar="VERB")
    show = verbs.add_parser("show", help="how long each kind is kept, and what happens then")
    show.add_argument("--json", action="store_true")
    change = verbs.add_parser("set", help="keep a kind for another time")
    change.add_argument("kind", metavar="KIND", help="as `show` names it")
    change.add_argument("days", metavar="DAYS", help=f"a number of days, or `{_FOREVER}`: until it is erased")
    change.add_argument("--yes", action="store_true", help="don't ask, even if that is longer than now")
    change.add_argument("--json", action="store_true")
    run_now = verbs.add_parser("run", help="let go of what was kept long enough (done once a day anyway)")
    run_now.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry out the sub-verb."""
    with console.open_vault() as vault:
        match arguments.retention_verb:
            case "show" | None:
                _show(vault.retention.rules(), as_json=arguments.json)
            case "set":
                return _set(vault.retention, arguments, console)
            case "run":
                with Working(console, "letting go of what was kept long enough"):
                    report = vault.retention.run()
                if arguments.json:
                    print(msgspec.json.encode(report).decode())
                else:
                    console.say(f"{str(report).capitalize()}.")
                    if report.left:
                        console.say(report.left)
    return 0


def _show(rules: "list[Rule]", *, as_json: bool) -> None:
    from vault.retention import in_words

    if as_json:
        print(msgspec.json.encode([_as_json(rule) for rule in rules]).decode())
        return
    rows = [
        (rule.what.value, in_words(rule.days), in_words(rule.default), rule.then if rule.days is not None else "")
        for rule in rules
    ]
    print(columns([("KIND", "KEPT", "BY DEFAULT", "THEN"), *rows]))


def _set(retention: "Retention", arguments: argparse.Namespace, console: Console) -> int:
    from vault.retention import in_words

    what, days = _kind(arguments.kind), _days(arguments.days)
    confirmed = arguments.yes
    if not confirmed and retention.loosens(what, days):
        if not console.can_ask:
            raise UsageError(
                f"That keeps {what} longer than now, and nobody can be asked whether it may.",
                hint="To set it unasked: --yes",
            )
        confirmed = console.confirm(f"So far {what} go sooner. Keep them {in_words(days)}?")
        if not confirmed:
            console.say("Nothing was changed.")
            return 1
    rule = retention.set(what, days, confirmed=confirmed)
    if arguments.json:
        print(msgspec.json.encode(_as_json(rule)).decode())
    else:
        then = f", then {rule.then}" if rule.days is not None else ""
        console.say(f"{rule.what}: kept {in_words(rule.days)}{then}. It holds from the next run on.")
    return 0


def _kind(name: str) -> "Retained":
    from vault.retention import Retained

    try:
        return Retained(name)
    except ValueError:
        raise UsageError(f"There is no kind {name!r}.", hint=f"There are: {', '.join(Retained)}") from None


def _days(text: str) -> int | None:
    from vault.retention import MOST_DAYS

    if text == _FOREVER:
        return None
    digits = text.lstrip("0") or text[:1]
    # Counted first: Python reads no number of thousands of digits.
    if text.isascii() and text.isdigit() and len(digits) <= len(str(MOST_DAYS)) and int(digits) <= MOST_DAYS:
        return int(digits)
    raise UsageError(
        f"{sanitize_line(text, 40)!r} is no number of days.", hint=f"From 0 to {MOST_DAYS:,}, or `{_FOREVER}`."
    )


def _as_json(rule: "Rule") -> dict[str, object]:
    return {"kind": rule.what, "days": rule.days, "default": rule.default, "then": rule.then}
