"""`claw-orchestrator round`: how far rounds are. Devices are counted, and never named."""

import argparse
import asyncio
import time
from typing import Any

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.commands.parts import opened
from orchestrator.errors import NotThere
from orchestrator.settings import Home
from orchestrator.tables import members, rounds, tasks

__all__ = ["run"]

_EVERY_S = 1.0
_ENDED = ("done", "aborted")


def run(arguments: argparse.Namespace) -> int:
    """Show."""
    return asyncio.run(_show(Home(arguments.folder), arguments))


async def _show(home: Home, arguments: argparse.Namespace) -> int:
    async with opened(home) as service:
        shown = ""
        while True:
            async with service.database.transaction() as connection:
                found = await _rounds(connection, arguments.name, getattr(arguments, "number", None))
            if arguments.action == "show":
                found = found[-1:]
            if not found:
                raise NotThere("There is no such round yet.")
            text = msgspec.json.encode(found).decode() if arguments.json else "\n".join(map(_line, found))
            if text != shown:
                print(text, flush=True)
                shown = text
            if not getattr(arguments, "watch", False) or found[-1]["step"] in _ENDED:
                return 0
            await asyncio.sleep(_EVERY_S)


async def _rounds(connection: AsyncConnection, name: str, number: int | None) -> list[dict[str, Any]]:
    counted = [func.count(members.c[column]).label(column) for column in ("device", "nonce", "share", "upload")]
    query = (
        select(rounds.c.number, rounds.c.step, rounds.c.begun, rounds.c.ended, rounds.c.outcome, *counted)
        .select_from(rounds.join(tasks).outerjoin(members))
        .where(tasks.c.name == name)
        .group_by(rounds.c.id)
        .order_by(rounds.c.number)
    )
    if number is not None:
        query = query.where(rounds.c.number == number)
    return [dict(row._mapping) for row in (await connection.execute(query)).all()]


def _line(found: dict[str, Any]) -> str:
    took = (found["ended"] or time.time()) - found["begun"]
    told = found["outcome"] or f"{found['device']} devices, {found['upload']} updates"
    return f"round {found['number']:<5} {found['step']:10} {took:7.1f} s  {told}"
