"""`claw fl daemon`: take part whenever the limits allow, and keep to retention, until it is ended."""

import argparse
import asyncio
import sys
import threading
from pathlib import Path

from cli.console import Console

__all__ = ["configure", "run"]

_LOOK_EVERY_S = 10.0
_UNIT = """\
[Unit]
Description=OpenClaw Core: learning together, within your limits

[Service]
ExecStart={claw} fl daemon
Nice=19
IOSchedulingClass=idle
Restart=on-failure
RestartSec=60

[Install]
WantedBy=default.target
"""
_EPILOG = """\
It holds no model while it waits. It ends on Ctrl-C or SIGTERM. Where the vault
is locked, it waits until something opens it without a question.
To have it started with your session:
  claw fl daemon --unit > ~/.config/systemd/user/openclaw-core.service
  systemctl --user enable --now openclaw-core
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    parser.add_argument("--unit", action="store_true", help="print a systemd user unit, and end")
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Take part until it is ended."""
    from cli.fl.running import Ending
    from fl_client.training.sandboxed import check_installed
    from vault.errors import Locked

    if arguments.unit:
        print(_UNIT.format(claw=Path(sys.executable).with_name("claw")), end="")
        return 0
    check_installed()
    ends, asks = threading.Event(), True
    with Ending(ends):
        while not ends.is_set():
            try:
                _serve(console, ends, ask=asks)
            except Locked as error:
                if asks and console.can_ask_passphrase:
                    raise
                console.say(f"{error.message} It waits until the vault opens.")
                ends.wait(_LOOK_EVERY_S)
            asks = False
    return 0


def _serve(console: Console, ends: threading.Event, *, ask: bool) -> None:
    from cli.at_work import opener
    from fl_client.participation.desk import Desk

    with console.open_vault(ask=ask) as vault:
        desk = Desk(vault, console.settings, opener(console, vault), ends, told=console.say)
        with desk.alone():
            asyncio.run(desk.serve(vault.retention.run_if_due))
