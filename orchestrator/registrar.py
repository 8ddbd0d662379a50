"""The registrar: admits the devices that have an invite. It holds the key that the orchestrator doesn't.

It can run on another machine than the orchestrator, and needs nothing but its database. Where both run on one, who
holds that machine can make devices up; `SECURITY.md` says what follows.
"""

import contextlib
import fcntl
import hmac
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from federation.digests import digest
from federation.enrolment import certify
from federation.invites import proof_of
from orchestrator.database import Database
from orchestrator.errors import OrchestratorError
from orchestrator.files import write_whole
from orchestrator.tables import devices, invites

__all__ = ["RegistrarDesk"]

_FILE = "invites.json"
_SECRET_BYTES = 32
_AT_ONCE = 100


class _Invite(msgspec.Struct):
    """An invite as the registrar has it.

    Attributes:
        secret: 32 bytes.
        uses: How many devices may join with it.
        until: Seconds since 1970.
        admitted: The devices that did.
    """

    secret: bytes
    uses: int
    until: float
    admitted: list[bytes]


class RegistrarDesk:
    """Makes invites, and admits who has one.

    Args:
        folder: The registrar's own, with its key and its invites.
        key: The registrar's.
        federation: Digest that stands for the federation.
        database: The orchestrator's.
    """

    def __init__(self, folder: Path, key: Ed25519PrivateKey, federation: bytes, database: Database) -> None:
        self._folder = folder
        self._key = key
        self._federation = federation
        self._database = database

    async def invite(self, *, uses: int, days: float, requests_a_minute: int) -> bytes:
        """Make an invite; its secret, 32 bytes."""
        secret, until = secrets.token_bytes(_SECRET_BYTES), time.time() + days * 86_400
        with self._kept() as kept:
            kept.append(_Invite(secret, uses, until, []))
        async with self._database.transaction() as connection:
            await connection.execute(
                invites.insert().values(
                    id=digest("invite", secret), uses=uses, until=until, requests_a_minute=requests_a_minute
                )
            )
        return secret

    async def admit(self) -> int:
        """Answer the devices that wait; how many."""
        waiting = select(devices.c.identity, devices.c.invite, devices.c.proof)
        waiting = waiting.where(devices.c.certificate.is_(None), devices.c.refused.is_(None)).limit(_AT_ONCE)
        async with self._database.transaction() as connection:
            rows = (await connection.execute(waiting)).all()
        if not rows:
            return 0
        answers: list[tuple[bytes, dict[str, object]]] = []
        with self._kept() as kept:
            known = {digest("invite", invite.secret): invite for invite in kept}
            for row in rows:
                device = bytes(row.identity)
                refused = self._refused(known.get(bytes(row.invite)), device, bytes(row.proof))
                certificate = None if refused else certify(self._key, self._federation, device)
                answers.append((device, {"refused": refused or None, "certificate": certificate}))
        # The registrar's own count is on the disk before anybody can know of a certificate.
        async with self._database.transaction() as connection:
            for device, values in answers:
                await connection.execute(devices.update().where(devices.c.identity == device).values(values))
        return len(answers)

    def _refused(self, invite: _Invite | None, device: bytes, proof: bytes) -> str:
        """Why a device isn't admitted; empty if it is, and counted."""
        if invite is None or invite.until < time.time():
            return "The registrar doesn't know that invite, or its time is over."
        if not hmac.compare_digest(proof_of(invite.secret, self._federation, device), proof):
            return "The device doesn't have that invite."
        if device not in invite.admitted:
            if len(invite.admitted) >= invite.uses:
                return "That invite is used up."
            invite.admitted.append(device)
        return ""

    @contextlib.contextmanager
    def _kept(self) -> Iterator[list[_Invite]]:
        """The invites; what is done to them is on the disk when this ends. One process at a time."""
        path = self._folder / _FILE
        with open(self._folder / "lock", "w", opener=_private) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                kept = msgspec.json.decode(path.read_bytes(), type=list[_Invite]) if path.exists() else []
            except (msgspec.MsgspecError, OSError) as error:
                raise OrchestratorError(f"{path} can't be read: {error}.") from error
            yield kept
            write_whole(path, msgspec.json.encode(kept))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
