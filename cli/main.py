"""The `claw` command: picks the verb, loads its module alone, and turns errors into a line and an exit code."""

import argparse
import difflib
import importlib
import io
import os
import signal
import sys
from pathlib import Path
from types import ModuleType

from cli.ending import Ended, end_in_order, ended_by, is_ending
from cli.errors import UsageError
from cli.verbs import VERBS
from vault.errors import ClawError

__all__ = ["build_parser", "main"]

_DESCRIPTION = "A private assistant that lives on your own machine.\nWithout a verb: start a conversation."
_EPILOG = """\
`claw VERB --help` says more.
Exit codes: 0 ok, 1 error or a question declined, 2 usage, 3 locked,
4 consent missing, 5 limit, 6 verification failed, 7 paused,
130 interrupted; 129, 143: SIGHUP, SIGTERM."""
_TAKES_A_VALUE = "--passphrase-file"


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0 ok, 1 error or a question declined, 2 usage, 3 locked, 4 consent missing, 5 limit,
        6 verification failed, 7 paused, 130 interrupted, 129 and 143 ended by SIGHUP and SIGTERM.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # `cli.entry` has set it so
        signal.signal(signal.SIGINT, signal.default_int_handler)
    end_in_order()
    _ready_streams()
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()  # here, where what goes wrong can be said, and not at the interpreter's end
    except ClawError as error:
        _complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except Ended as ended:
        is_ending()
        return ended.status
    except BrokenPipeError:
        # The reader of our output went away (`claw … | head`): end quietly.
        _drop_output()
        return 141
    except OSError as error:
        _drop_output()
        if end := ended_by(error):
            is_ending()
            return end.status
        about = f" ({error.filename})" if error.filename else ""
        _complain(ClawError(f"The system refused: {error.strerror or error}{about}."))
        return 1
    except Exception as error:
        if os.environ.get("CLAW_DEBUG"):
            raise
        if isinstance(error, UnicodeEncodeError) and not all(map(_is_text, arguments)):
            _complain(UsageError("One of the words given isn't text (UTF-8)."))
            return UsageError.exit_code
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
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"claw {version('openclaw-core')}")
    parser.add_argument(
        "--plain", action="store_true", help="a conversation line by line (also for screen readers)"
    )
    parser.add_argument(_TAKES_A_VALUE, type=Path, metavar="FILE", help="a 0600 file that holds the passphrase")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for verb, summary in VERBS.items():
        child = verbs.add_parser(verb, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if verb in loaded:
            _module(verb).configure(child)
    return parser


def _run(arguments: list[str]) -> int:
    # Only the named verb's module is loaded: `claw --help` stays fast however many verbs there are.
    verb = _verb_of(arguments)
    if verb is not None and verb not in VERBS:
        build_parser().error(_no_such_verb(verb))
    parsed = build_parser(*([verb] if verb else [])).parse_args(arguments)
    from cli.console import Console, passphrase_file_from

    console = Console(passphrase_file=parsed.passphrase_file or passphrase_file_from(os.environ))
    module = _module(parsed.verb) if parsed.verb else importlib.import_module("cli.conversation")
    return int(module.run(parsed, console))


def _verb_of(arguments: list[str]) -> str | None:
    """The first word that is neither an option nor an option's value."""
    words = iter(arguments)
    for word in words:
        if word == _TAKES_A_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None


def _no_such_verb(word: str) -> str:
    if len(word.split()) > 1:
        return 'that is no verb. To ask something: claw ask "…"'
    near = difflib.get_close_matches(word, VERBS, n=1)
    return f"there is no verb {word!r}" + (f"; did you mean {near[0]}?" if near else "")


def _module(verb: str) -> ModuleType:
    return importlib.import_module(f"cli.{verb}")


def _complain(error: ClawError) -> None:
    from vault.sanitize import sanitize

    print(f"claw: {sanitize(error.message)}", file=sys.stderr)
    if error.hint:
        print(f"      {sanitize(error.hint)}", file=sys.stderr)


def _ready_streams() -> None:
    """Have three standard streams, and none that fails over a character its encoding lacks."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # started with `>&-`: otherwise the next file we open would take its place
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _drop_output() -> None:
    """Send what is still unwritten nowhere, so that Python doesn't complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_text(word: str) -> bool:
    """Whether a word of the command line came as UTF-8."""
    return not any("\udc80" <= character <= "\udcff" for character in word)
