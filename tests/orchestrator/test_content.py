"""Released numbers: named by what they are, and never taken for others."""

import asyncio
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from orchestrator.content import Content
from orchestrator.errors import NotThere, OrchestratorError


def test_what_was_stored_is_found_by_its_digest_and_nothing_else_is(tmp_path: Path) -> None:
    async def story() -> None:
        content, data = Content(str(tmp_path)), os.urandom(1000)
        digest = await content.put(data)
        assert digest == hashlib.sha256(data).digest()
        assert await content.put(data) == digest
        assert await content.get(digest) == data
        with pytest.raises(NotThere):
            await content.get(bytes(32))

    asyncio.run(story())


def test_what_was_changed_is_not_given_out(tmp_path: Path) -> None:
    async def story() -> None:
        data = os.urandom(1000)
        digest = await Content(str(tmp_path)).put(data)
        (kept,) = tmp_path.glob("*/*")
        kept.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(NotThere, match="changed"):
            await Content(str(tmp_path)).get(digest)

    asyncio.run(story())


def test_the_newest_ones_are_remembered_and_older_ones_are_read_again(tmp_path: Path) -> None:
    async def story() -> None:
        content = Content(str(tmp_path))
        digests = [await content.put(os.urandom(1000)) for _ in range(6)]
        for digest in digests:
            await content.get(digest)
        shutil.rmtree(tmp_path)
        for digest in digests[2:]:
            await content.get(digest)
        for digest in digests[:2]:
            with pytest.raises(OrchestratorError):
                await content.get(digest)

    asyncio.run(story())


def test_a_place_that_is_gone_is_said_so(tmp_path: Path) -> None:
    async def story() -> None:
        content = Content(str(tmp_path / "content"))
        shutil.rmtree(tmp_path / "content")
        (tmp_path / "content").write_bytes(b"a file")
        with pytest.raises(OrchestratorError, match="can't be stored"):
            await content.put(b"x")

    asyncio.run(story())


@pytest.mark.parametrize("address", ["ftp://somewhere/else", "s3://"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(OrchestratorError, match="Nothing can be stored"):
        Content(address)
