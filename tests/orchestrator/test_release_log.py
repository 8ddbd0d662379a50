"""The log of releases over HTTP, as a device verifies it: what stands in it is believed, and nothing else."""

from pathlib import Path

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.api import Consistency, Leaf, ReleaseInfo, TaskInfo
from federation.errors import Refused
from federation.messages import decode, encode
from federation.releases import ORIGIN, Promotion, Release, check_included, head_of, next_head
from federation.task import read_task
from tests.orchestrator.federations import task_of
from tests.orchestrator.here import Here
from tests.orchestrator.test_requests import TASK, tell
from tlog.merkle import EMPTY_ROOT, Head
from tlog.note import Checkpoint, Signer, Verifier, origin_of

NOTHING = Head(0, EMPTY_ROOT)


def verifier_of(here: Here) -> Verifier:
    return Verifier(origin_of(ORIGIN, here.log), here.log)


async def advance(here: Here, http: httpx.AsyncClient, seen: Head) -> Head:
    """What a device does with a newer head."""
    note = (await http.get("/v1/log/checkpoint")).text
    size = head_of(note, verifier_of(here)).size
    got = await http.get(f"/v1/log/consistency?old={seen.size}&size={size}")
    path = msgspec.json.decode(got.content, type=Consistency).path
    return next_head(seen, note, path, verifier_of(here))


async def leaf(http: httpx.AsyncClient, place: int, head: Head) -> Leaf:
    got = await http.get(f"/v1/log/leaves/{place}?size={head.size}")
    return msgspec.json.decode(got.content, type=Leaf)


def test_a_device_finds_task_release_and_promotion_in_the_log(tmp_path: Path) -> None:
    async def story(here: Here, http: httpx.AsyncClient) -> None:
        head = await advance(here, http, NOTHING)
        assert head.size == 3
        info = msgspec.json.decode((await http.get(f"/v1/tasks/{TASK.name}")).content, type=TaskInfo)
        task = read_task(info.message)
        assert task == TASK
        check_included(task, info.place, (await leaf(http, info.place, head)).path, head)

        got = await http.get(f"/v1/tasks/{TASK.name}/releases/{info.in_use}")
        found = msgspec.json.decode(got.content, type=ReleaseInfo)
        release = decode(found.message, Release, 1024)
        check_included(release, found.place, (await leaf(http, found.place, head)).path, head)
        assert (release.task, release.number, release.epsilon) == (TASK.digest, 0, 0.0)
        promoted = await leaf(http, info.promotion, head)
        promotion = decode(promoted.message, Promotion, 1024)
        assert promotion == Promotion(task.digest, release.digest)
        check_included(promotion, info.promotion, promoted.path, head)

    tell(tmp_path, story)


def test_a_head_goes_on_from_the_one_before_and_from_no_other(tmp_path: Path) -> None:
    async def story(here: Here, http: httpx.AsyncClient) -> None:
        head = await advance(here, http, NOTHING)
        await here.open(task_of(20, name="another"))
        later = await advance(here, http, head)
        assert later.size == 6
        note = (await http.get("/v1/log/checkpoint")).text
        for seen in (Head(3, bytes(32)), Head(6, bytes(32)), Head(7, later.root)):
            with pytest.raises(Refused):
                next_head(seen, note, [], verifier_of(here))

    tell(tmp_path, story)


def test_what_is_not_in_the_log_or_not_there_is_refused(tmp_path: Path) -> None:
    async def story(here: Here, http: httpx.AsyncClient) -> None:
        head = await advance(here, http, NOTHING)
        path = (await leaf(http, 0, head)).path
        other = msgspec.structs.replace(TASK, purpose="Something else.")
        for message, place in ((other, 0), (TASK, 1)):
            with pytest.raises(Refused, match="isn't in the log"):
                check_included(message, place, path, head)

    tell(tmp_path, story)


def test_a_checkpoint_of_another_key_or_log_is_refused() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public = key.public_key().public_bytes_raw()
    verifier = Verifier(origin_of(ORIGIN, public), public)
    elsewhere = Signer(key, verifier.name).sign(str(Checkpoint("another log", NOTHING)))
    forged = Signer(Ed25519PrivateKey.generate(), verifier.name).sign(str(Checkpoint(verifier.name, NOTHING)))
    for note in (elsewhere, forged, "", "x" * 2000):
        with pytest.raises(Refused):
            head_of(note, verifier)


def test_a_first_release_alone_has_none_before_it() -> None:
    first = Release(bytes(32), 0, bytes(32), 0, 0, 0, 0.0, bytes(32))
    assert decode(encode(first), Release, 1024) == first
    for number, parent in ((1, bytes(32)), (0, b"\x01" * 32)):
        with pytest.raises(ValueError, match="one before it"):
            Release(bytes(32), number, parent, 0, 0, 0, 0.0, bytes(32))
