"""The `claw` command: picks the verb, loads its module alone, and turns errors into a line and an exit code."""

import argparse
import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

from cli.verbs import VERBS
from vault.errors import ClawError

__all__ = ["build_parser", "main"]

_DESCRIPTION = "A private assistant that lives on your own machine. Without a verb: start a conversation."


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0 ok, 1 error, 2 usage, 3 locked, 4 consent missing, 5 limit, 6 verification failed,
        7 paused, 130 interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return _run(arguments)
    except ClawError as error:
        _complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`claw … | head`): end quietly, and keep Python from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if os.environ.get("CLAW_DEBUG"):
            raise
        print(
            f"claw: an error that should not happen: {type(error).__name__}.\n"
            "      Run it again with CLAW_DEBUG=1 to see where, and please report that.",
            file=sys.stderr,
        )
        return 1


def build_parser(*loaded: str) -> argparse.ArgumentParser:
    """The command's parser.

    Args:
        loaded: The verbs whose modules are loaded to say what they take.
    """
    from importlib.metadata import version

    parser = argparse.ArgumentParser(
        prog="claw",
        description=_DESCRIPTION,
        epilog="`claw VERB --help` says more. Exit codes: 0 ok, 1 error, 2 usage, 3 locked, 4 consent missing, "
        "5 limit, 6 verification failed, 7 paused.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"claw {version('openclaw-core')}")
    parser.add_argument(
        "--plain", action="store_true", help="a conversation line by line (also for screen readers)"
    )
    parser.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="a 0600 file that holds the passphrase"
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for verb, summary in VERBS.items():
        child = verbs.add_parser(verb, help=summary, description=summary)
        if verb in loaded:
            _module(verb).configure(child)
    return parser


def _run(arguments: list[str]) -> int:
    # Only the named verb's module is loaded: `claw --help` stays fast however many verbs there are.
    verb = next((word for word in arguments if word in VERBS), None)
    parsed = build_parser(*([verb] if verb else [])).parse_args(arguments)
    from cli.console import Console, passphrase_file_from

    console = Console(passphrase_file=parsed.passphrase_file or passphrase_file_from(os.environ))
    module = _module(parsed.verb) if parsed.verb else importlib.import_module("cli.conversation")
    return int(module.run(parsed, console))


def _module(verb: str) -> ModuleType:
    return importlib.import_module(f"cli.{verb}")


def _complain(error: ClawError) -> None:
    from vault.sanitize import sanitize

    print(f"claw: {sanitize(error.message)}", file=sys.stderr)
    if error.hint:
        print(f"      {sanitize(error.hint)}", file=sys.stderr)
