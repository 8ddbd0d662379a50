"""`claw completion`: a script that teaches a shell the verbs and their options."""

import argparse

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

    print(shtab.complete(build_parser(*VERBS), shell=arguments.shell))
    return 0
