"""Attacks on the files of a vault; `benchmarks/torture.py` tries many more of each kind."""

from collections import Counter

import pytest

from tests.torture.rig import Rig
from tests.torture.scenes import Attack, Finding, Scene, noticed, scenes
from tests.torture.tamper import EVERYTHING_BACK, attacks
from tests.torture.wal import FRAME_BYTES, HEADER_BYTES, Wal

STRIDE = 4999
EACH = 10


@pytest.fixture(scope="session")
def attacked(rig: Rig) -> dict[str, Scene]:
    return {scene.name: scene for scene in scenes(rig.scratch / "scenes")}


def some_of_each(scene: Scene) -> dict[str, list[Attack]]:
    """A few attacks of each kind, spread over all of them; each holds whole files, so not all are kept."""
    counts = Counter(attack.kind for attack in attacks(scene, stride=STRIDE, seed=1))
    seen, kept = Counter[str](), dict[str, list[Attack]]()
    for attack in attacks(scene, stride=STRIDE, seed=1):
        if seen[attack.kind] % max(1, counts[attack.kind] // EACH) == 0:
            kept.setdefault(attack.kind, []).append(attack)
        seen[attack.kind] += 1
    return kept


@pytest.mark.parametrize("name", ["closed", "killed", "keychain"])
def test_whatever_changes_a_vault_is_noticed(rig: Rig, attacked: dict[str, Scene], name: str) -> None:
    scene = attacked[name]
    found: dict[str, set[Finding]] = {
        kind: {noticed(scene, attack, rig.scratch / "try") for attack in same}
        for kind, same in some_of_each(scene).items()
    }
    everything = found.pop(EVERYTHING_BACK)
    assert [kind for kind, findings in found.items() if "missed" in findings] == []
    # Without a keychain nothing remembers more than those files: the weaker promise, which SECURITY.md states.
    assert everything == {"at open" if name == "keychain" else "missed"}


def test_a_flipped_bit_of_a_closed_database_is_always_found(rig: Rig, attacked: dict[str, Scene]) -> None:
    flips = some_of_each(attacked["closed"])["bit flipped in vault.db"]
    found = {noticed(attacked["closed"], attack, rig.scratch / "try") for attack in flips}
    assert found == {"at open", "by check"}


def test_the_attackers_write_ahead_log_is_sqlites_own(attacked: dict[str, Scene]) -> None:
    data = attacked["killed"].files["vault.db-wal"]
    log = Wal(data)
    assert len(log.frames) > 20
    assert log.written(log.frames) == data[: HEADER_BYTES + len(log.frames) * FRAME_BYTES]


def test_an_attack_that_changes_nothing_is_not_counted_as_noticed(rig: Rig, attacked: dict[str, Scene]) -> None:
    scene = attacked["closed"]
    for attack in attacks(scene, stride=STRIDE, seed=1):
        if attack.kind == "bit flipped in vault.db":
            harmless = attack._replace(files={"vault.db": scene.files["vault.db"]})
            assert noticed(scene, harmless, rig.scratch / "try") == "nothing changed"
            return
