"""`claw-orchestrator init`: make a federation."""

import argparse
import asyncio
import os
import urllib.parse
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from orchestrator.errors import OrchestratorError
from orchestrator.files import write_whole
from orchestrator.settings import CONFIGURATION, Home, Settings
from orchestrator.tls import make_certificate, make_key

__all__ = ["run"]

_TEXT = """\
# A federation of OpenClaw Core; `docs/federate.md` tells what each of these is.
name = {name}
address = {address}
listen = {listen}
database = {database}
content = {content}
"""


def run(arguments: argparse.Namespace) -> int:
    """Make the folder, or leave everything as it is."""
    folder: Path = arguments.folder
    if os.path.lexists(folder):
        raise OrchestratorError(f"{folder} is there already.", hint="--folder names another one.")
    names = ("name", "address", "listen", "database", "content")
    given = {name: getattr(arguments, name) for name in names}
    try:
        msgspec.convert(given, Settings)
    except msgspec.ValidationError as error:
        raise OrchestratorError(f"That can't be a federation's configuration: {error}") from None
    host = urllib.parse.urlsplit(given["address"]).hostname or ""
    beside = folder.with_name(f".{folder.name}.new")
    try:
        for part in ("keys", "registrar"):
            (beside / part).mkdir(mode=0o700, parents=True)
        os.chmod(beside, 0o700)
        log, registrar = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        write_whole(beside / "keys" / "log.key", log.private_bytes_raw().hex().encode())
        write_whole(beside / "registrar" / "registrar.key", registrar.private_bytes_raw().hex().encode())
        for name, key in (("log", log), ("registrar", registrar)):
            public = key.public_key().public_bytes_raw().hex()
            write_whole(beside / "keys" / f"{name}.pub", public.encode())
        make_key(beside / "keys" / "tls.key")
        make_key(beside / "keys" / "spare.key")
        make_certificate(beside / "keys" / "tls.crt", beside / "keys" / "tls.key", host)
        quoted = {name: msgspec.json.encode(value).decode() for name, value in given.items()}
        write_whole(beside / CONFIGURATION, _TEXT.format(**quoted).encode())
        os.rename(beside, folder)
    except OSError as error:
        raise OrchestratorError(
            f"{folder} can't be made: {error.strerror}.", hint=f"Remove {beside} if it is there."
        ) from None
    asyncio.run(_prepare(Home(folder)))
    print(f"{folder} is made. Next: claw-orchestrator --folder {folder} serve")
    print(f"and, in another terminal: claw-orchestrator --folder {folder} registrar")
    print(
        "Keep a copy of the folder in a safe place: with its keys, somebody could pose as this federation; "
        "without them, nobody can go on with it."
    )
    return 0


async def _prepare(home: Home) -> None:
    database = home.database()
    try:
        await database.migrate()
    finally:
        await database.close()
