"""`claw completion`: a script that teaches a shell the verbs and their options."""

import argparse
from collections.abc import Iterator

from cli.console import Console

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    parser.epilog = (
        "bash: claw completion bash > ~/.local/share/bash-completion/completions/claw\n"
        "zsh:  claw completion zsh > a folder of your $fpath, as _claw\n"
        "fish: claw completion fish > ~/.config/fish/completions/claw.fish"
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def run(arguments: argparse.Namespace, _console: Console) -> int:
    """Print the script."""
    import shtab

    from cli.main import build_parser
    from cli.verbs import VERBS

    parser = build_parser(*VERBS)
    for action in _actions(parser):
        if action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(parser, shell=arguments.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every argument of a parser and of its sub-verbs'."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _actions(child)
