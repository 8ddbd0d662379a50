"""Attacks on a vault's files by somebody who can write them but has no key."""

import json
import random
from collections.abc import Iterator

from tests.torture.inside import inside_attacks
from tests.torture.scenes import Attack, Scene
from tests.torture.wal import FRAME_BYTES, HEADER_BYTES, PAGE_BYTES, Frame, Wal
from vault.reserve import RESERVE

__all__ = ["EVERYTHING_BACK", "attacks"]

EVERYTHING_BACK = "all files put back together"
"""What nothing inside those files can tell; the keychain's copy of the anchor is for that."""

_OF_NOTHING = 20
"""So many bits, and cuts, of the 8 MiB that hold nothing: as for the database, they were most of all attacks."""

_DATABASE, _LOG, _ANCHOR, _SLOTS = "vault.db", "vault.db-wal", "vault.anchor", "keyslots.json"


def attacks(scene: Scene, *, stride: int, seed: int) -> Iterator[Attack]:
    """Every attack on a scene.

    Args:
        scene: The vault.
        stride: A bit is flipped in each so-manieth byte of large files, and twenty times as often in small ones.
        seed: For the bits.
    """
    if scene.keychain is not None:
        yield from (attack for attack in _old_files(scene) if attack.kind == EVERYTHING_BACK)
        return
    dice = random.Random(seed)
    yield from _flips(scene, stride, dice)
    yield from _cuts(scene, stride)
    yield from _old_files(scene)
    yield from _old_pages(scene)
    yield from _slot_changes(scene)
    if _LOG in scene.files:
        yield from _forged_logs(scene, dice)
    else:
        yield from inside_attacks()


def _flips(scene: Scene, stride: int, dice: random.Random) -> Iterator[Attack]:
    for name, content in scene.files.items():
        step = stride if len(content) > 20 * PAGE_BYTES else max(1, stride // 20)
        if name == RESERVE:
            step = len(content) // _OF_NOTHING
        for position in range(dice.randrange(step), len(content), step):
            bit = dice.randrange(8)
            yield Attack(
                f"bit flipped in {name}", f"byte {position} bit {bit}", {name: _flipped(content, position, bit)}
            )


def _flipped(content: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 1 << bit
    return bytes(changed)


def _cuts(scene: Scene, stride: int) -> Iterator[Attack]:
    for name, content in scene.files.items():
        yield Attack(f"{name} removed", "", {name: None})
        size = len(content)
        edges = range(0, size, PAGE_BYTES) if name != _LOG else range(HEADER_BYTES, size, FRAME_BYTES)
        if name == RESERVE:
            edges = range(0, size, size // _OF_NOTHING)
        for length in sorted({0, *edges, *range(1, size, max(1, size // 20, stride)), size - 1}):
            yield Attack(f"{name} cut off", f"at {length} of {size}", {name: content[:length]})


def _old_files(scene: Scene) -> Iterator[Attack]:
    for age, old in enumerate(scene.earlier):
        for kind, names in (
            ("database put back", [_DATABASE]),
            ("database and write-ahead log put back", [_DATABASE, _LOG]),
            ("old write-ahead log put back", [_LOG]),
            ("anchor put back", [_ANCHOR]),
            ("key slots put back", [_SLOTS]),
            ("key slots and their backup put back", [_SLOTS, f"{_SLOTS}.backup"]),
            (EVERYTHING_BACK, [*scene.files.keys() | old.keys()]),
        ):
            files = {name: old.get(name) for name in names if old.get(name) != scene.files.get(name)}
            if files:
                yield Attack(kind, f"copy {age}", files)
        swap: dict[str, bytes | None] = {f"next/{_DATABASE}": old[_DATABASE], "next/ready": b""}
        yield Attack("old database put in by a forged rotation", f"copy {age}", swap)


def _old_pages(scene: Scene) -> Iterator[Attack]:
    """Single pages of the database from earlier copies of it: each is authentic where it lies."""
    now = scene.files[_DATABASE]
    tried: set[bytes] = set()
    for age, old in enumerate(scene.earlier):
        before = old[_DATABASE]
        for start in range(0, min(len(now), len(before)), PAGE_BYTES):
            page = before[start : start + PAGE_BYTES]
            if page != now[start : start + PAGE_BYTES] and page not in tried:
                tried.add(page)
                content = now[:start] + page + now[start + PAGE_BYTES :]
                yield Attack(
                    "old page put back", f"page {start // PAGE_BYTES + 1} of copy {age}", {_DATABASE: content}
                )


def _slot_changes(scene: Scene) -> Iterator[Attack]:
    """What an editor can do to the slots."""

    def slots() -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(scene.files[_SLOTS])["slots"]
        return found

    def attack(kind: str, detail: str, changed: list[dict[str, object]]) -> Attack:
        document = {**json.loads(scene.files[_SLOTS]), "slots": changed}
        return Attack(kind, detail, {_SLOTS: json.dumps(document, indent=2).encode()})

    for one, slot in enumerate(slots()):
        yield attack("slot removed", str(slot["kind"]), [*slots()[:one], *slots()[one + 1 :]])
        yield attack("slot doubled", str(slot["kind"]), [*slots(), {**slot, "id": "00000000"}])
        for other, another in enumerate(slots()[one + 1 :], one + 1):
            swapped = slots()
            swapped[one], swapped[other] = another, slot
            yield attack("slots swapped", f"{one} and {other}", swapped)
            for field in sorted(slot.keys() & another.keys()):
                if slot[field] != another[field]:
                    swapped = slots()
                    swapped[one][field], swapped[other][field] = another[field], slot[field]
                    yield attack("parts of two slots swapped", f"{field} of {one} and {other}", swapped)


def _forged_logs(scene: Scene, dice: random.Random) -> Iterator[Attack]:
    """Other frames in the write-ahead log, with good checksums, which need no key."""
    log = Wal(scene.files[_LOG])
    frames = log.frames

    def attack(kind: str, where: int, forged: list[Frame]) -> Attack:
        return Attack(f"{kind} the write-ahead log", str(where), {_LOG: log.written(forged)})

    ends = [index + 1 for index, frame in enumerate(frames) if frame.commit]
    for start, end, after in zip([0, *ends], ends, ends[1:], strict=False):
        commit, following = frames[start:end], frames[end:after]
        yield attack("commit taken out of", start, frames[:start] + frames[end:])
        yield attack("old commit added to", start, frames + commit)
        yield attack("commits swapped in", start, frames[:start] + following + commit + frames[after:])
    seen: dict[int, bytes] = {}
    for index, frame in enumerate(frames):
        before, behind = frames[:index], frames[index + 1 :]
        if frame.page in seen:
            yield attack("old page put into", index, [*before, frame._replace(content=seen[frame.page]), *behind])
        seen[frame.page] = frame.content
        flipped = _flipped(frame.content, dice.randrange(PAGE_BYTES), dice.randrange(8))
        yield attack(
            "bit flipped, checksums made good, in", index, [*before, frame._replace(content=flipped), *behind]
        )
