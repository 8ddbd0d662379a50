"""What several verbs need."""

import contextlib
from collections.abc import AsyncIterator

from orchestrator.service import Service
from orchestrator.settings import Home

__all__ = ["opened"]


@contextlib.asynccontextmanager
async def opened(home: Home) -> AsyncIterator[Service]:
    """A federation's parts, without answering anybody."""
    service = Service(home.database(), home.content(), home.registrar(), home.log_key())
    try:
        await service.database.migrate()
        async with service.database.transaction() as connection:
            await service.releases.log.begin(connection)
        yield service
    finally:
        await service.database.close()
