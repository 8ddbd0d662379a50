"""Who sent a request: a device that was admitted, signing each request anew, and not too often."""

import time
from collections.abc import Callable, Mapping

from sqlalchemy import case
from sqlalchemy.ext.asyncio import AsyncConnection

from federation.errors import Refused
from federation.requests import verify_request
from orchestrator.database import Database
from orchestrator.errors import NotAllowed, TooMuch
from orchestrator.tables import devices

__all__ = ["Authentication"]

_MINUTE_S = 60


class Authentication:
    """Knows devices by their signatures.

    Args:
        database: Where devices are kept.
        now: Seconds since 1970.
    """

    def __init__(self, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    async def device(self, method: str, target: str, headers: Mapping[str, str], body_sha256: bytes) -> bytes:
        """The device that signed a request; the request is used up, whatever comes of it.

        Args:
            method: Such as `POST`.
            target: Path and query, as they came.
            headers: By their names in lower case.
            body_sha256: Of the body that came.

        Raises:
            NotAllowed: nobody signed just that; or the device isn't admitted, or was revoked; or it is an older
                request.
            TooMuch: it asked too often.
        """
        try:
            signed = verify_request(method, target, headers, body_sha256, self._now())
        except Refused as error:
            raise NotAllowed(error.message) from None
        async with self._database.transaction() as connection:
            requests, limit = await self._count(connection, signed.device, signed.counter)
        if requests > limit:
            raise TooMuch("That is more requests than this device may make in a minute.")
        return signed.device

    async def _count(self, connection: AsyncConnection, device: bytes, counter: int) -> tuple[int, int]:
        minute = int(self._now()) // _MINUTE_S
        row = (
            await connection.execute(
                devices.update()
                .where(
                    devices.c.identity == device,
                    devices.c.counter < counter,
                    devices.c.certificate.is_not(None),
                    devices.c.revoked.is_(None),
                )
                .values(
                    counter=counter,
                    requests=case((devices.c.minute == minute, devices.c.requests + 1), else_=1),
                    minute=minute,
                )
                .returning(devices.c.requests, devices.c.requests_a_minute)
            )
        ).first()
        if row is None:
            raise NotAllowed(
                "This device isn't admitted, was revoked, or sent this request, or a later one, before."
            )
        return int(row.requests), int(row.requests_a_minute)
