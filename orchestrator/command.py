"""The `claw-orchestrator` command."""

import argparse
import importlib
import sys
from pathlib import Path

__all__ = ["main"]

_VERBS = {
    "init": "make a federation: configuration, keys, certificate, database",
    "serve": "answer devices, until you stop it",
    "invite": "make an invite that devices join with",
    "registrar": "admit devices that have an invite, until you stop it",
    "task": "open, list and pause what is learned together",
    "round": "look at rounds",
    "release": "look at what came of them, and say which of it is used",
    "device": "list devices, and revoke one",
}
_EPILOG = """\
to begin:
  claw-orchestrator init --name "Our group" --address https://HOST:8470
  claw-orchestrator serve &  claw-orchestrator registrar &
  claw-orchestrator invite
  claw-orchestrator task example > task.toml    (edit it)
  claw-orchestrator task create task.toml
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command.

    Returns:
        0 done, 1 failed, 2 called wrongly, 130 interrupted.
    """
    arguments = _parser().parse_args(argv)
    try:
        from orchestrator.errors import OrchestratorError

        module = importlib.import_module(f"orchestrator.commands.{arguments.verb}")
    except ModuleNotFoundError as error:
        print(
            f"claw-orchestrator: {error.name} isn't installed: pip install 'openclaw-core[orchestrator]'",
            file=sys.stderr,
        )
        return 1
    try:
        return int(module.run(arguments))
    except OrchestratorError as error:
        print(f"claw-orchestrator: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="claw-orchestrator",
        description="The other end of a federation: it brings devices together, and can't look at what they send.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("federation"), help="the federation's folder (%(default)s)"
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, what in _VERBS.items():
        _CONFIGURE[verb](verbs.add_parser(verb, help=what, description=what))
    return parser


def _init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="of the federation, for people")
    parser.add_argument("--address", required=True, metavar="URL", help="where devices reach it: https://HOST:PORT")
    parser.add_argument("--listen", default="0.0.0.0:8470", help="address and port to listen on (%(default)s)")
    parser.add_argument("--database", default="sqlite:///orchestrator.db", metavar="URL", help="(%(default)s)")
    parser.add_argument("--content", default="content", metavar="PLACE", help="a folder, or s3://BUCKET/PREFIX")


def _serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", metavar="HOST:PORT", help="instead of what the configuration says")


def _nothing(parser: argparse.ArgumentParser) -> None:
    del parser


def _invite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--uses", type=int, default=1, metavar="N", help="how many devices may use it (%(default)s)"
    )
    parser.add_argument("--days", type=float, default=7, metavar="N", help="how long it holds (%(default)s)")
    parser.add_argument(
        "--requests", type=int, default=600, metavar="N", help="of each device a minute, at most (%(default)s)"
    )
    parser.add_argument(
        "--task", action="append", default=[], metavar="NAME", help="that it is for; may be repeated"
    )
    parser.add_argument("--no-qr", action="store_true", help="print the text alone")


def _task(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="open a task; what its plan gives is shown before")
    create.add_argument("file", type=Path, metavar="FILE", help="in TOML; `task example` prints one")
    create.add_argument("--yes", action="store_true", help="don't ask")
    create.add_argument("--by-hand", action="store_true", help="a new release is used only once it is promoted")
    actions.add_parser("example", help="print a task to begin with")
    actions.add_parser("list", help="every task").add_argument("--json", action="store_true")
    for action, what in (("pause", "begin no more rounds"), ("resume", "begin rounds again")):
        actions.add_parser(action, help=what).add_argument("name", metavar="NAME")


def _round(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, what in (("list", "a line for each round"), ("show", "one round")):
        one = actions.add_parser(action, help=what)
        one.add_argument("name", metavar="TASK")
        if action == "show":
            one.add_argument("number", type=int, nargs="?", metavar="N", help="the newest if not given")
            one.add_argument("--watch", action="store_true", help="go on showing it until it ends")
        one.add_argument("--json", action="store_true")


def _release(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    one = actions.add_parser("list", help="a line for each release of a task")
    one.add_argument("name", metavar="TASK")
    one.add_argument("--json", action="store_true")
    for action, what in (
        ("show", "one release"),
        ("promote", "use it from now on"),
        ("rollback", "use the one before"),
    ):
        one = actions.add_parser(action, help=what)
        one.add_argument("name", metavar="TASK")
        if action != "rollback":
            one.add_argument("number", type=int, metavar="N")


def _device(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="every device").add_argument("--json", action="store_true")
    for action, what in (
        ("revoke", "answer a device no more"),
        ("export", "all that is kept about a device, as JSON"),
        ("erase", "remove all that is kept about a device, and answer it no more"),
    ):
        actions.add_parser(action, help=what).add_argument("device", metavar="ID", help="the first digits will do")


_CONFIGURE = {
    "init": _init,
    "serve": _serve,
    "invite": _invite,
    "registrar": _nothing,
    "task": _task,
    "round": _round,
    "release": _release,
    "device": _device,
}

if __name__ == "__main__":
    sys.exit(main())
