"""`claw-orchestrator invite`: make an invite, as text and as a QR code."""

import argparse
import asyncio
import io
import sys

import segno

from federation.invites import Invite
from orchestrator.errors import OrchestratorError
from orchestrator.registrar import RegistrarDesk
from orchestrator.settings import Home

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Make one."""
    if not 1 <= arguments.uses <= 1_000_000 or not 0 < arguments.days <= 3650 or arguments.requests < 1:
        raise OrchestratorError("An invite is for 1 to 1,000,000 devices, and for 3,650 days at most.")
    home = Home(arguments.folder)
    secret = asyncio.run(_make(home, arguments))
    text = str(
        Invite(
            home.settings.name,
            home.settings.address,
            home.pins(),
            home.registrar(),
            home.log(),
            secret,
            tuple(arguments.task),
        )
    )
    if sys.stdout.isatty() and not arguments.no_qr:
        drawn = io.StringIO()
        segno.make(text, error="l").terminal(out=drawn, compact=True)
        print(drawn.getvalue())
    print(text)
    print(
        f"Whoever has it can join, {arguments.uses} in all, for {arguments.days:g} days: claw fl join INVITE",
        file=sys.stderr,
    )
    return 0


async def _make(home: Home, arguments: argparse.Namespace) -> bytes:
    database = home.database()
    try:
        await database.migrate()
        desk = RegistrarDesk(home.registrar_folder, home.registrar_key(), home.federation(), database)
        return await desk.invite(uses=arguments.uses, days=arguments.days, requests_a_minute=arguments.requests)
    finally:
        await database.close()
