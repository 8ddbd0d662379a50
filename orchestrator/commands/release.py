"""`claw-orchestrator release`: what came of rounds, and which of it is used."""

import argparse
import asyncio
import sys
from typing import Any

import msgspec
from sqlalchemy import select

from federation.messages import decode
from federation.releases import Release
from orchestrator.commands.parts import opened
from orchestrator.errors import NotThere
from orchestrator.release_store import MOST_RELEASE_BYTES
from orchestrator.settings import Home
from orchestrator.tables import releases, tasks

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    home = Home(arguments.folder)
    if arguments.action in ("promote", "rollback"):
        return asyncio.run(_put_to_use(home, arguments.name, getattr(arguments, "number", None)))
    found = asyncio.run(_releases(home, arguments.name))
    if arguments.action == "show":
        found = [one for one in found if one["number"] == arguments.number]
        if not found:
            raise NotThere(f"{arguments.name} has no release {arguments.number}.")
    if getattr(arguments, "json", False) or arguments.action == "show":
        print(msgspec.json.format(msgspec.json.encode(found if arguments.action == "list" else found[0])).decode())
        return 0
    for one in found:
        used = "  in use" if one["in_use"] else ""
        print(
            f"release {one['number']:<5} round {one['round']:<5} {one['survivors']} of {one['cohort']} devices, "
            f"ε {one['epsilon']:.2f}{used}"
        )
    return 0


async def _releases(home: Home, name: str) -> list[dict[str, Any]]:
    async with opened(home) as service, service.database.transaction() as connection:
        query = select(releases.c.message, releases.c.place, tasks.c.in_use).join_from(releases, tasks)
        query = query.where(tasks.c.name == name).order_by(releases.c.number)
        rows = (await connection.execute(query)).all()
    if not rows:
        raise NotThere(f"There is no task {name}.")
    found = []
    for row in rows:
        release = decode(bytes(row.message), Release, MOST_RELEASE_BYTES)
        told = msgspec.structs.asdict(release)
        told |= {key: value.hex() for key, value in told.items() if isinstance(value, bytes)}
        found.append({**told, "place": row.place, "in_use": row.in_use == release.number})
    return found


async def _put_to_use(home: Home, name: str, number: int | None) -> int:
    async with opened(home) as service, service.database.transaction() as connection:
        if number is None:
            query = select(tasks.c.in_use).where(tasks.c.name == name).with_for_update()
            used = (await connection.execute(query)).scalar()
            if used is None:
                raise NotThere(f"There is no task {name}.")
            if used == 0:
                raise NotThere(f"{name} uses its first release: there is none before it.")
            number = used - 1
        await service.releases.promote(connection, name, number)
    print(f"{name} uses release {number} from now on; it stands in the log of releases.", file=sys.stderr)
    return 0
