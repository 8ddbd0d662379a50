"""Single statements, given to PostgreSQL's driver as they are, over connections of their own.

What is asked at each check-in is the same small statement each time: what SQLAlchemy does for it besides would take
longer than all the rest of the answer. It still makes the statement.
"""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

from sqlalchemy import Select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import ReturningUpdate

__all__ = ["Direct", "Statement"]

_CONNECTIONS = 16
"""So many commits wait together for the disk: PostgreSQL writes them in one go."""
_WITHIN_S = 30.0
_AS_THEY_ARE = (int, float, str, bytes, type(None))
"""What the driver takes without SQLAlchemy's having to change it before."""

Statement = Select[Any] | ReturningUpdate[Any]


class _Compiled(NamedTuple):
    """A statement as PostgreSQL takes it.

    Attributes:
        text: With `$1`, `$2`, … for its parameters.
        names: Of the parameters, in this order.
        constants: The values of those that are always the same.
    """

    text: str
    names: tuple[str, ...]
    constants: Mapping[str, Any]


class Direct:
    """Executes statements, each of which takes effect by itself.

    Args:
        engine: Of PostgreSQL, with asyncpg.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._compiled: dict[int, tuple[Statement, _Compiled]] = {}
        self._room = asyncio.Semaphore(_CONNECTIONS)
        self._idle: list[Any] = []

    async def first(self, statement: Statement, values: Mapping[str, Any]) -> SimpleNamespace | None:
        """The first row, or `None`.

        Args:
            statement: One of those that are made once.
            values: Of its parameters, by name.

        Raises:
            OperationalError: the database can't be reached.
        """
        import asyncpg

        text, names, constants = self._of(statement)
        arguments = [values[name] if name in values else constants[name] for name in names]
        async with self._room:
            connection = None
            try:
                connection = self._idle.pop() if self._idle else await self._connected()
                row = await connection.fetchrow(text, *arguments, timeout=_WITHIN_S)
            except BaseException as error:
                # Whatever it was: what this connection would answer next isn't known, and as after a restart of the
                # database the others may be broken, too.
                for one in (connection, *self._idle):
                    if one is not None:
                        one.terminate()
                self._idle.clear()
                if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError | OSError):
                    raise OperationalError(text, None, error) from error
                raise
            self._idle.append(connection)
        return None if row is None else SimpleNamespace(**row)

    async def close(self) -> None:
        """Close every connection."""
        while self._idle:
            await self._idle.pop().close()

    async def _connected(self) -> Any:  # noqa: ANN401  the driver has no types
        import asyncpg

        positional, named = self._engine.dialect.create_connect_args(self._engine.url)
        return await asyncpg.connect(*positional, **named, timeout=_WITHIN_S)

    def _of(self, statement: Statement) -> _Compiled:
        known = self._compiled.get(id(statement))
        if known is None:
            compiled = statement.compile(dialect=self._engine.dialect)
            assert isinstance(compiled, SQLCompiler)
            ready = _Compiled(str(compiled), tuple(compiled.positiontup or ()), dict(compiled.params))
            assert all(type(value) in _AS_THEY_ARE for value in ready.constants.values())
            self._compiled[id(statement)] = known = (statement, ready)  # with the statement, which keeps its id
        return known[1]
