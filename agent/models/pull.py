"""Pulling a model: resumable, verified against a promised digest, and registered only when all of it holds."""

import contextlib
import fcntl
import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agent.errors import ModelError, ModelRefused, RequestRefused
from agent.models.catalogue import Catalogue, Probe, Registered
from agent.models.hub import Hub
from agent.models.source import HubFile, Source, WebFile
from agent.models.weights import Progress, require_room, sha256_of
from vault.classes import DataClass
from vault.durable import make_private_folder, storage_error
from vault.egress import COMMAND, Answer, Egress, Purpose, Request, Transfer
from vault.errors import DiskFull, EgressError, VerificationFailed

__all__ = ["Pull", "pull_model"]

_PARTIAL_FOLDER = "partial"

_MOST_BYTES = 2**42
"""No model file is larger than 4 TiB; a server that says otherwise is broken or hostile."""


@dataclass(frozen=True, slots=True)
class Pull:
    """What to pull.

    Attributes:
        source: From where.
        name: What to call it; made of the file's name when `None`.
        sha256: The digest that the person gives; empty for none.
        unverified: Whether the person takes a file for which nobody promised a digest.
    """

    source: Source
    name: str | None = None
    sha256: str = ""
    unverified: bool = False


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be fetched, all questions answered."""

    address: str = field(repr=False)
    source: str
    sha256: str
    size: int | None
    hub: Hub | None


def pull_model(
    wanted: Pull, *, catalogue: Catalogue, egress: Egress, hub: Hub, probe: Probe, progress: Progress | None = None
) -> Registered:
    """Fetch a model through the one door out, verify it and register it.

    An interrupted pull goes on where it ended when it is asked for again.

    Args:
        wanted: What to pull.
        catalogue: Where to register it.
        egress: The door.
        hub: Where `hf:` sources are looked up.
        probe: The trial load.
        progress: Told how far it is.

    Raises:
        RequestRefused: no digest is known and `unverified` wasn't asked for, or the name can't be used.
        VerificationFailed: what arrived isn't what was promised; nothing was kept.
        ModelRefused: it is no model that llama.cpp can load; nothing was kept.
        DiskFull: there is no room for it.
        EgressError: it can't be fetched; what has arrived is kept for the next time.
        ModelError: another process pulls the same file.
    """
    name = catalogue.free_name(wanted.name, wanted.source.file_name)
    fetched = _resolve(wanted, egress, hub)
    folder = catalogue.folder / _PARTIAL_FOLDER
    make_private_folder(folder)
    with _partial(folder, fetched) as (path, file):
        _fetch(fetched, path, file, egress, progress)
        with _discarded_on_error(path):
            digest = sha256_of(file.fileno(), "Verifying", progress)
            if fetched.sha256 and digest != fetched.sha256:
                raise VerificationFailed(
                    f"What arrived isn't the promised file: its sha256 is {digest}, not {fetched.sha256}.",
                    hint="It was removed, nothing was registered. Try again; if it happens twice, don't trust it.",
                )
            return catalogue.adopt(
                path, file.fileno(), name=name, sha256=digest, source=fetched.source, probe=probe
            )


def _resolve(wanted: Pull, egress: Egress, hub: Hub) -> _Wanted:
    match wanted.source:
        case HubFile() as file:
            promise = hub.look_up(file, egress)
            if wanted.sha256 and promise.sha256 and wanted.sha256 != promise.sha256:
                raise VerificationFailed(
                    f"The hub's file has the sha256 {promise.sha256}, not the one you gave; nothing was fetched."
                )
            sha256 = wanted.sha256 or promise.sha256
            found = _Wanted(promise.address, promise.source, sha256, promise.size, hub)
        case WebFile() as file:
            found = _Wanted(file.url, file.shown, wanted.sha256, None, None)
    if not (found.sha256 or wanted.unverified):
        raise RequestRefused(
            "Nobody says what this file's sha256 should be, so a changed or damaged one couldn't be told apart.",
            hint="Give the digest its publisher states: --sha256 HEX. To take whatever arrives: --unverified",
        )
    return found


@contextlib.contextmanager
def _partial(folder: Path, wanted: _Wanted) -> Iterator[tuple[Path, io.FileIO]]:
    """The file in which this very source arrives, held against other processes."""
    identity = hashlib.sha256(f"{wanted.source}\0{wanted.sha256}".encode()).hexdigest()
    path = folder / f"{identity[:32]}.part"
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise storage_error(error, path) from error
        with io.FileIO(descriptor, "r+") as file:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ModelError("Another `claw` pulls this file right now.", hint="Wait for it to end.") from None
            if not _is_still(path, descriptor):
                continue  # another process finished it between our opening and locking it
            try:
                yield path, file
            finally:
                if _is_still(path, descriptor) and not os.fstat(descriptor).st_size:
                    path.unlink()
            return


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _fetch(wanted: _Wanted, path: Path, file: io.FileIO, egress: Egress, progress: Progress | None) -> None:
    def inspect(answer: Answer) -> None:
        _refuse_no_file(answer, wanted.hub)
        here = os.fstat(file.fileno()).st_size if answer.status == 206 else 0
        size = wanted.size if wanted.size is not None else answer.size
        if size is not None:
            require_room(path.parent, size - here)

    def report(done: int, total: int | None) -> None:
        if progress is not None:
            progress("Pulling", done, total)

    if not wanted.sha256:
        file.truncate(0)  # nothing would tell whether an earlier beginning belongs to what is served now
    transfer = Transfer(
        file,
        path=path,
        size=wanted.size,
        limit=_MOST_BYTES,
        digest_follows=bool(wanted.sha256),
        inspect=inspect,
        progress=report,
    )
    token = wanted.hub.token if wanted.hub else ""
    request = Request(
        Purpose.MODEL_PULL,
        wanted.address,
        DataClass.GENERAL,
        consent=COMMAND,
        description="which model's file is wanted",
        token=token,
        redirects=True,
    )
    try:
        egress.download(request, transfer)
    except (DiskFull, VerificationFailed):
        # A full disk is the person's to use again at once; bytes that broke a promise are of no use to anybody.
        # What an earlier pull brought stays, if this one was refused before it began.
        if transfer.received:
            path.unlink(missing_ok=True)
        raise


def _refuse_no_file(answer: Answer, hub: Hub | None) -> None:
    if hub is not None and answer.host == hub.host:
        hub.inspect(answer)
    if answer.status in (401, 403):
        raise EgressError(
            f"{answer.host} doesn't give the file to everybody (HTTP {answer.status}).",
            hint="Fetch it with a program that can log in there, then: claw model import FILE",
        )
    if answer.status in (404, 410):
        raise EgressError(f"{answer.host} has no such file (HTTP {answer.status}).", hint="Check the address.")
    if answer.headers.get("content-type", "").lower().startswith("text/html"):
        raise EgressError(
            f"{answer.host} answers with a web page instead of the file; perhaps one has to log in there.",
            hint="Fetch it with a browser, then: claw model import FILE",
        )


@contextlib.contextmanager
def _discarded_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (ModelRefused, VerificationFailed, DiskFull):
        path.unlink(missing_ok=True)
        raise
