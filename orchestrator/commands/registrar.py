"""`claw-orchestrator registrar`: admit devices that have an invite, until stopped."""

import argparse
import asyncio
import contextlib

from sqlalchemy.exc import SQLAlchemyError

from orchestrator.registrar import RegistrarDesk
from orchestrator.settings import Home

__all__ = ["run"]

_EVERY_S = 0.5


def run(arguments: argparse.Namespace) -> int:
    """Admit."""
    asyncio.run(_admit(Home(arguments.folder)))
    return 0


async def _admit(home: Home) -> None:
    desk = RegistrarDesk(home.registrar_folder, home.registrar_key(), home.federation(), home.database())
    print("Admitting devices that have an invite. Ctrl-C ends it.", flush=True)
    while True:
        with contextlib.suppress(SQLAlchemyError, OSError):  # it is away for now
            if count := await desk.admit():
                print(f"{count} device{'s' * (count != 1)} answered.", flush=True)
        await asyncio.sleep(_EVERY_S)
