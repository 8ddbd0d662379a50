"""Where released numbers lie: a folder, or S3-compatible storage. Named by their digests, never changed."""

import hashlib
from collections import OrderedDict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from orchestrator.errors import NotThere, OrchestratorError

if TYPE_CHECKING:  # it isn't there at run time
    from obstore.store import RetryConfig

__all__ = ["Content"]

_RETRY: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
"""A device that waits longer has gone, and asks again."""
_RECENT = 4
"""Releases that are kept in memory: all devices of a round ask for the same one."""


class Content:
    """What is named by its SHA-256.

    Args:
        address: A folder, or such as `s3://BUCKET/PREFIX` (credentials come from the environment, as for the `aws`
            command).

    Raises:
        OrchestratorError: that is no address of a store.
    """

    def __init__(self, address: str) -> None:
        try:
            if "://" in address:
                self._store: ObjectStore = from_url(address, retry_config=_RETRY)
            else:
                self._store = LocalStore(Path(address), mkdir=True)
        except (BaseError, ValueError, OSError) as error:
            raise OrchestratorError(
                f"Nothing can be stored at {address}: {type(error).__name__}.",
                hint="Name a folder, or an address like s3://bucket/prefix.",
            ) from error
        self._recent: OrderedDict[bytes, bytes] = OrderedDict()

    async def put(self, data: bytes) -> bytes:
        """Keep something; its digest."""
        digest = hashlib.sha256(data).digest()
        try:
            await obstore.put_async(self._store, _name(digest), data)
        except (BaseError, OSError) as error:
            raise OrchestratorError(
                f"The released numbers can't be stored: {type(error).__name__}.",
                hint="See that the bucket or folder is there, and may be written to.",
            ) from error
        return digest

    async def get(self, digest: bytes) -> bytes:
        """What has this digest.

        Raises:
            NotThere: nothing has, or what is there was changed.
        """
        if digest in self._recent:
            self._recent.move_to_end(digest)
            return self._recent[digest]
        try:
            found = await obstore.get_async(self._store, _name(digest))
            data = bytes(await found.bytes_async())
        except (NotFoundError, FileNotFoundError):
            raise NotThere("There is nothing with this digest.") from None
        except (BaseError, OSError) as error:
            raise OrchestratorError(f"The released numbers can't be read: {type(error).__name__}.") from error
        if hashlib.sha256(data).digest() != digest:
            raise NotThere("What was stored under this digest was changed.")
        self._recent[digest] = data
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        return data


def _name(digest: bytes) -> str:
    return f"{digest.hex()[:2]}/{digest.hex()}"
