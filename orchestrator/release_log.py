"""The log of releases in the database: appended to by the transactions that it tells of, signed, provable."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from federation.messages import Message, encode
from federation.releases import leaf_of
from orchestrator.errors import NotThere
from orchestrator.tables import leaves, log
from tlog.merkle import EMPTY_ROOT, Frontier, Head, consistency_proof, inclusion_proof
from tlog.note import Checkpoint, Signer

__all__ = ["ReleaseLog"]


class ReleaseLog:
    """A federation's log.

    Args:
        signer: Of its heads.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    async def begin(self, connection: AsyncConnection) -> None:
        """Sign the head of an empty log, where there is none."""
        if (await connection.execute(select(log.c.id))).first() is None:
            note = self._signer.sign(str(Checkpoint(self._signer.verifier.name, Head(0, EMPTY_ROOT))))
            await connection.execute(log.insert().values(id=1, size=0, frontier=b"", checkpoint=note))

    async def append(self, connection: AsyncConnection, message: Message) -> int:
        """Add a leaf; its place."""
        row = (await connection.execute(select(log.c.size, log.c.frontier).with_for_update())).one()
        frontier = Frontier.from_bytes(row.size, row.frontier)
        leaf = leaf_of(message)
        frontier.append(leaf)
        note = self._signer.sign(str(Checkpoint(self._signer.verifier.name, frontier.head)))
        await connection.execute(leaves.insert().values(place=row.size, message=encode(message), hash=leaf))
        await connection.execute(
            log.update().values(size=frontier.size, frontier=frontier.to_bytes(), checkpoint=note)
        )
        return int(row.size)

    async def checkpoint(self, connection: AsyncConnection) -> str:
        """The signed head."""
        return str((await connection.execute(select(log.c.checkpoint))).scalar_one())

    async def leaf(self, connection: AsyncConnection, place: int, size: int) -> tuple[bytes, list[bytes]]:
        """A leaf's message, and the path that shows it in the log as it was with so many leaves.

        Raises:
            NotThere: the log hasn't so many leaves, or no such one.
        """
        hashes = await self._hashes(connection, size)
        if not 0 <= place < size:
            raise NotThere("The log has no such entry.")
        message = (await connection.execute(select(leaves.c.message).where(leaves.c.place == place))).scalar_one()
        return message, inclusion_proof(hashes, place)

    async def consistency(self, connection: AsyncConnection, old: int, size: int) -> list[bytes]:
        """The path that shows that the log with `size` leaves begins with what it was with `old`.

        Raises:
            NotThere: the log hasn't so many leaves.
        """
        hashes = await self._hashes(connection, size)
        if not 0 <= old <= size:
            raise NotThere("The log never was like that.")
        return consistency_proof(hashes, old)

    async def _hashes(self, connection: AsyncConnection, size: int) -> list[bytes]:
        query = select(leaves.c.hash).where(leaves.c.place < size).order_by(leaves.c.place)
        hashes = [bytes(one) for one in (await connection.execute(query)).scalars()]
        if size < 0 or len(hashes) != size:
            raise NotThere(f"The log has no {size} entries.")
        return hashes
