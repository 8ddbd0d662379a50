"""What an export folder holds: `manifest.json`, without a time, so that equal vaults give equal folders."""

from typing import Annotated, Literal

import msgspec

from vault.errors import ImportRefused, VersionTooNew
from vault.migrations import newest_version
from vault.portability.digests import Digest

__all__ = ["MANIFEST", "Manifest", "parse_manifest", "table_file"]

MANIFEST = "manifest.json"
_VERSION = 1


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The files of an export.

    Attributes:
        format: What this is.
        version: Of this layout.
        app: The program's version.
        schema: Of the tables.
        files: Of each, by its path in the folder: rows (of JSON lines, conversations or text lines), bytes, digest.
    """

    format: Literal["openclaw-core export"] = "openclaw-core export"
    version: int = _VERSION
    app: str
    schema: Annotated[int, msgspec.Meta(ge=1)]
    files: dict[str, Digest]


def table_file(table: str) -> str:
    """Where a table lies in an export."""
    return f"tables/{table}.jsonl"


def parse_manifest(data: bytes) -> Manifest:
    """Read what was written.

    Raises:
        ImportRefused: it is no manifest.
        VersionTooNew: a newer version of OpenClaw Core wrote it.
    """
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ImportRefused(f"{MANIFEST} isn't laid out as this program's are.") from None
    if manifest.version > _VERSION or manifest.schema > newest_version():
        raise VersionTooNew(
            f"A newer version of OpenClaw Core ({manifest.app[:40]}) wrote this export.",
            hint="Update OpenClaw Core. Nothing was changed.",
        )
    return manifest
