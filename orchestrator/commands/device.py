"""`claw-orchestrator device`: who belongs to the federation, as far as the orchestrator knows."""

import argparse
import asyncio
import re
import sys
import time
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.commands.parts import opened
from orchestrator.errors import NotNow, NotThere
from orchestrator.settings import Home
from orchestrator.tables import devices, members, rounds

__all__ = ["run"]

_ENDED = ("done", "aborted")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    return asyncio.run(_do(Home(arguments.folder), arguments))


async def _do(home: Home, arguments: argparse.Namespace) -> int:
    async with opened(home) as service, service.database.transaction() as connection:
        if arguments.action == "list":
            return await _list(connection, as_json=arguments.json)
        device = await _one(connection, arguments.device)
        if arguments.action == "export":
            print(msgspec.json.format(msgspec.json.encode(await _kept(connection, device))).decode())
        elif arguments.action == "revoke":
            await connection.execute(
                devices.update().where(devices.c.identity == device).values(revoked=time.time())
            )
            print("It is answered no more.", file=sys.stderr)
        else:
            await _erase(connection, device)
            print("All that was kept about it is removed, but that its key is answered no more.", file=sys.stderr)
    return 0


async def _list(connection: AsyncConnection, *, as_json: bool) -> int:
    rows = (await connection.execute(select(devices).order_by(devices.c.asked))).all()
    found = [{"device": bytes(row.identity).hex(), "state": _state(row)} for row in rows]
    if as_json:
        print(msgspec.json.encode(found).decode())
        return 0
    for one in found:
        print(f"{one['device'][:16]}  {one['state']}")
    return 0


def _state(row: Any) -> str:  # noqa: ANN401  a row of devices
    if row.revoked is not None:
        return "revoked"
    if row.refused:
        return "refused"
    return "waits for the registrar" if row.certificate is None else "admitted"


async def _one(connection: AsyncConnection, begins: str) -> bytes:
    if not re.fullmatch("[0-9a-f]{4,64}", begins):
        raise NotThere("A device is named by the first digits of its key, four at least.")
    known = (await connection.execute(select(devices.c.identity))).scalars()
    found = [bytes(one) for one in known if bytes(one).hex().startswith(begins)]
    if len(found) != 1:
        raise NotThere("No device is named like that." if not found else "Several devices begin like that.")
    return found[0]


async def _kept(connection: AsyncConnection, device: bytes) -> dict[str, Any]:
    row = (await connection.execute(select(devices).where(devices.c.identity == device))).one()
    query = select(rounds.c.number, rounds.c.step, members.c.chosen, members.c.upload.is_not(None).label("sent"))
    query = query.join_from(members, rounds).where(members.c.device == device).order_by(rounds.c.id)
    took_part = [dict(one._mapping) for one in (await connection.execute(query)).all()]
    kept = {
        key: bytes(value).hex() if isinstance(value, bytes | memoryview) else value
        for key, value in row._mapping.items()
    }
    return {"device": kept, "rounds": took_part}


async def _erase(connection: AsyncConnection, device: bytes) -> None:
    query = select(rounds.c.id).join_from(members, rounds)
    query = query.where(members.c.device == device, rounds.c.step.not_in(_ENDED))
    if (await connection.execute(query)).first() is not None:
        raise NotNow("The device is in a round that goes on.", hint="Try again when it has ended.")
    await connection.execute(members.delete().where(members.c.device == device))
    # The key stays, with nothing beside it: else an old certificate would let it come back.
    empty = {
        "proof": bytes(32),
        "certificate": None,
        "revoked": time.time(),
        "asked": 0.0,
        "requests": 0,
        "minute": 0,
    }
    await connection.execute(devices.update().where(devices.c.identity == device).values(empty))
