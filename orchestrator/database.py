"""The database: SQLite in a file, or PostgreSQL. Everything an orchestrator knows between two requests is in it."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from orchestrator.direct import Direct, Statement
from orchestrator.errors import OrchestratorError

__all__ = ["Database"]

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATING = 0x636C6177  # an advisory lock's number; nobody else's business
_BUSY_MS = 30_000
_CONNECTIONS = 10


class Database:
    """A database, and transactions in it.

    Args:
        url: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`.

    Raises:
        OrchestratorError: it is another kind of URL.

    Attributes:
        engine: SQLAlchemy's.
        shared: Whether several replicas may use it at a time.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            driver = _DRIVERS[parsed.drivername]
        except (ArgumentError, KeyError):
            raise OrchestratorError(
                "That is no database's address.",
                hint="It looks like sqlite:///FILE or postgresql://USER@HOST/NAME.",
            ) from None
        self.shared = parsed.drivername == "postgresql"
        # One after the other is as fast as SQLite writes. A connection that broke costs one request, which is made
        # again, where asking each one before its use would cost every request as much as its own work.
        connections = _CONNECTIONS if self.shared else 1
        self.engine: AsyncEngine = create_async_engine(
            parsed.set(drivername=driver), pool_size=connections, max_overflow=0
        )
        if self.shared:
            self._direct = Direct(self.engine)
        else:
            event.listen(self.engine.sync_engine, "connect", _on_connect)
            event.listen(self.engine.sync_engine, "begin", _on_begin)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Statements that take effect together, or not at all."""
        async with self.engine.begin() as connection:
            yield connection

    async def first(self, statement: Statement, values: Mapping[str, Any]) -> Any:  # noqa: ANN401  a row
        """The first row of one statement that takes effect by itself; `None` if it has none.

        Args:
            statement: Made once, and asked for often.
            values: Of its parameters.
        """
        if not self.shared:
            async with self.transaction() as connection:
                return (await connection.execute(statement, values)).first()
        return await self._direct.first(statement, values)

    async def migrate(self) -> None:
        """Bring the tables to what this version expects; several replicas may do so at once.

        Raises:
            OrchestratorError: the database can't be reached.
        """
        try:
            async with self.transaction() as connection:
                if self.shared:
                    await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATING})
                await connection.run_sync(_upgrade)
        except (DBAPIError, OSError) as error:
            raise OrchestratorError(
                f"The database can't be used: {str(getattr(error, 'orig', error)).splitlines()[0]:.200}",
                hint="See that it runs, and that the address in the configuration is right.",
            ) from error

    async def close(self) -> None:
        """Close every connection."""
        if self.shared:
            await self._direct.close()
        await self.engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _on_connect(connection: Any, _record: Any) -> None:  # noqa: ANN401  the driver's own
    connection.isolation_level = None  # transactions are begun below, and not by the driver
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_MS}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    # A transaction that reads first and writes then could find another's writes in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
