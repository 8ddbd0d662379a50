"""Who sent a request: a device that was admitted, signing each request anew, and not too often."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from sqlalchemy import bindparam, case, select
from sqlalchemy.ext.asyncio import AsyncConnection

from federation.errors import FederationError, Refused
from federation.requests import DIGEST, Signed, digest_in, verify_request
from orchestrator.database import Database
from orchestrator.errors import NotAllowed, OrchestratorError, TooMuch
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

    def signed(self, method: str, target: str, headers: Mapping[str, str]) -> tuple[Signed, bytes]:
        """Who signed a request, before its body is read; and the SHA-256 that the body has to have.

        Args:
            method: Such as `POST`.
            target: Path and query, as they came.
            headers: By their names in lower case.

        Raises:
            NotAllowed: nobody signed just that, or not now.
        """
        try:
            body_sha256 = digest_in(headers.get(DIGEST.lower(), ""))
            return verify_request(method, target, headers, body_sha256, self._now()), body_sha256
        except Refused as error:
            raise NotAllowed(error.message) from None

    async def knows(self, device: bytes) -> bool:
        """Whether a device is admitted, before a long body is waited for."""
        return await self._database.first(_KNOWN, {"device": device}) is not None

    async def use_up(self, signed: Signed) -> None:
        """Use a request up, which asks for nothing to be written.

        Raises:
            NotAllowed: the device isn't admitted, or was revoked; or this is an older request.
            TooMuch: the device asked too often.
        """
        self._judge(await self._database.first(_USE_UP, self._values(signed)))

    @contextlib.asynccontextmanager
    async def request(self, signed: Signed) -> AsyncIterator[AsyncConnection]:
        """One transaction for a request and what it has written. The request is used up, whatever comes of it.

        Args:
            signed: Who signed it.

        Yields:
            The transaction. Where what is done in it is refused, it is taken back, but for the request itself.

        Raises:
            NotAllowed: the device isn't admitted, or was revoked; or this is an older request.
            TooMuch: the device asked too often.
        """
        values = self._values(signed)
        async with self._database.engine.connect() as connection:
            self._judge((await connection.execute(_USE_UP, values)).first())
            try:
                yield connection
            except (OrchestratorError, FederationError):
                await connection.rollback()
                self._judge((await connection.execute(_USE_UP, values)).first())
                await connection.commit()
                raise
            await connection.commit()

    def _values(self, signed: Signed) -> dict[str, bytes | int]:
        minute = int(self._now()) // _MINUTE_S
        return {"device": signed.device, "next": signed.counter, "this_minute": minute}

    @staticmethod
    def _judge(row: Any) -> None:  # noqa: ANN401  of `_USE_UP`
        if row is None:
            raise NotAllowed(
                "This device isn't admitted, was revoked, or sent this request, or a later one, before."
            )
        if row.requests > row.requests_a_minute:
            raise TooMuch("That is more requests than this device may make in a minute.")


_ADMITTED = (
    devices.c.identity == bindparam("device"),
    devices.c.certificate.is_not(None),
    devices.c.revoked.is_(None),
)
_KNOWN = select(devices.c.identity).where(*_ADMITTED)
_USE_UP = (
    devices.update()
    .where(*_ADMITTED, devices.c.counter < bindparam("next"))
    .values(
        counter=bindparam("next"),
        requests=case((devices.c.minute == bindparam("this_minute"), devices.c.requests + 1), else_=1),
        minute=bindparam("this_minute"),
    )
    .returning(devices.c.requests, devices.c.requests_a_minute)
)
"""Made once: putting a statement together takes longer than having it executed."""
