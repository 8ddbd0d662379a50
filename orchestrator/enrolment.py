"""Admitting devices: the orchestrator takes requests to the registrar and its answers back, and decides nothing."""

import time
from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from orchestrator.database import Database
from orchestrator.errors import NotAllowed, NotNow, NotThere
from orchestrator.tables import devices, invites

__all__ = ["Enrolment"]


class Enrolment:
    """Requests of devices to be admitted.

    Args:
        database: Where they are kept.
        now: Seconds since 1970.
    """

    def __init__(self, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    async def ask(self, device: bytes, invite: bytes, proof: bytes) -> None:
        """Keep a device's request for the registrar; the same once more changes nothing.

        Raises:
            NotAllowed: there is no such invite, or it is over or used up.
            NotNow: the device asked with another proof or invite before.
        """
        async with self._database.transaction() as connection:
            query = select(devices.c.invite, devices.c.proof).where(devices.c.identity == device)
            known = (await connection.execute(query)).first()
            if known is not None:
                if (bytes(known.invite), bytes(known.proof)) == (invite, proof):
                    return
                raise NotNow("This device has asked before, with another invite.")
            taken = (
                await connection.execute(
                    invites.update()
                    .where(invites.c.id == invite, invites.c.used < invites.c.uses, invites.c.until > self._now())
                    .values(used=invites.c.used + 1)
                    .returning(invites.c.requests_a_minute)
                )
            ).first()
            if taken is None:
                raise NotAllowed("That invite isn't known here, is used up, or its time is over.")
            try:
                await connection.execute(
                    devices.insert().values(
                        identity=device,
                        invite=invite,
                        proof=proof,
                        asked=self._now(),
                        requests_a_minute=taken.requests_a_minute,
                    )
                )
            except IntegrityError:
                raise NotNow("This device is asking at this very moment.") from None

    async def answer(self, device: bytes) -> bytes | None:
        """The registrar's certificate for a device; `None` while there is no answer.

        Raises:
            NotThere: the device never asked.
            NotAllowed: the registrar refused, or the device was revoked.
        """
        async with self._database.transaction() as connection:
            query = select(devices.c.certificate, devices.c.refused, devices.c.revoked)
            row = (await connection.execute(query.where(devices.c.identity == device))).first()
        if row is None:
            raise NotThere("This device never asked to be admitted.")
        if row.refused or row.revoked is not None:
            raise NotAllowed(row.refused or "This device was revoked.")
        return None if row.certificate is None else bytes(row.certificate)
