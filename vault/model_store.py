"""What the vault knows of models: which weights a name stands for, and when they were last verified."""

import re

import msgspec

from vault.database import Connection, Database
from vault.errors import VaultError

__all__ = ["LONGEST_NAME", "NAME", "FileCheck", "ModelRecord", "ModelStore"]

LONGEST_NAME = 80
"""In characters."""

NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{LONGEST_NAME - 1}}}", re.ASCII)
"""What a model can be called: names that are safe as file names and easy to type."""


class ModelRecord(msgspec.Struct, frozen=True):
    """A registered model. The weights themselves are a file in the models folder.

    Attributes:
        name: What a person calls it.
        file: The file's name in the models folder.
        sha256: Digest of the weights, lower-case hex.
        bytes: Size of the file.
        source: Where it came from: a URL, `hf:…`, or `import`.
        architecture: As the GGUF names it.
        context_length: Tokens the model was trained for.
        parameters: Number of weights.
        quantization: As the GGUF names its file type.
        licence: As the GGUF states it; empty when it doesn't.
        added_ms: Milliseconds since 1970.
    """

    name: str
    file: str
    sha256: str
    bytes: int
    source: str
    architecture: str
    context_length: int
    parameters: int
    quantization: str
    licence: str
    added_ms: int


class FileCheck(msgspec.Struct, frozen=True):
    """A file as it was when its digest was last computed."""

    sha256: str
    device: int
    inode: int
    bytes: int
    mtime_ns: int
    ctime_ns: int
    checked_ns: int


class ModelStore:
    """The vault's table of models."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[ModelRecord]:
        """Every registered model, by name."""
        rows = self._database.read(lambda c: c.execute("SELECT * FROM models ORDER BY name").fetchall())
        return [ModelRecord(*row) for row in rows]

    def add(self, record: ModelRecord) -> None:
        """Register a model.

        Raises:
            VaultError: the name is taken.
        """

        def insert(connection: Connection) -> None:
            if connection.execute("SELECT 1 FROM models WHERE name = ?", (record.name,)).fetchone():
                raise VaultError(f"A model {record.name!r} is registered already.", hint="Give it another --name.")
            values = msgspec.structs.astuple(record)
            connection.execute(f"INSERT INTO models VALUES (?{', ?' * (len(values) - 1)})", values)

        self._database.write(insert)

    def remove(self, name: str) -> None:
        """Forget a model; its file is the caller's to remove."""
        self._database.write(lambda c: c.execute("DELETE FROM models WHERE name = ?", (name,)).rowcount)

    def last_check(self, sha256: str) -> FileCheck | None:
        """The file that last proved to have this digest."""
        row = self._database.read(
            lambda c: c.execute("SELECT * FROM model_checks WHERE sha256 = ?", (sha256,)).fetchone()
        )
        return FileCheck(*row) if row else None

    def record_check(self, check: FileCheck) -> None:
        """Remember a file whose digest was computed."""
        values = msgspec.structs.astuple(check)
        self._database.write(
            lambda c: c.execute("INSERT OR REPLACE INTO model_checks VALUES (?, ?, ?, ?, ?, ?, ?)", values).rowcount
        )
