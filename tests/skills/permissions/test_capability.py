"""A capability counts for one call, for a while, and once."""

import msgspec
import pytest

from skills.errors import CapabilityRefused
from skills.permissions.capability import MOST_SECONDS, Mint

CALL = ("read_file", ("file:/notes/a",), "ab" * 32)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_it_counts_once() -> None:
    mint = Mint()
    capability = mint.make(*CALL)
    mint.spend(capability, *CALL)
    with pytest.raises(CapabilityRefused, match="used up"):
        mint.spend(capability, *CALL)


def test_it_counts_as_often_as_it_says() -> None:
    mint = Mint()
    capability = mint.make(*CALL, count=3)
    for _ in range(3):
        mint.spend(capability, *CALL)
    with pytest.raises(CapabilityRefused, match="used up"):
        mint.spend(capability, *CALL)


@pytest.mark.parametrize(
    "other",
    [
        ("write_file", CALL[1], CALL[2]),
        (CALL[0], ("file:/notes/b",), CALL[2]),
        (CALL[0], (), CALL[2]),
        (CALL[0], CALL[1], "cd" * 32),
    ],
)
def test_it_is_for_no_other_tool_resource_or_arguments(other: tuple[str, tuple[str, ...], str]) -> None:
    mint = Mint()
    capability = mint.make(*CALL)
    with pytest.raises(CapabilityRefused, match="another call"):
        mint.spend(capability, *other)
    mint.spend(capability, *CALL)


@pytest.mark.parametrize(
    "change",
    [{"tool": "write_file"}, {"digest": "cd" * 32}, {"count": 9}, {"until": 9e9}, {"id": b"x" * 16}, {"tag": b""}],
)
def test_it_cant_be_altered(change: dict[str, object]) -> None:
    mint = Mint()
    altered = msgspec.structs.replace(mint.make(*CALL), **change)
    with pytest.raises(CapabilityRefused, match="wasn't made here"):
        mint.spend(altered, altered.tool, altered.resources, altered.digest)


def test_another_session_doesnt_know_it() -> None:
    with pytest.raises(CapabilityRefused, match="wasn't made here"):
        Mint().spend(Mint().make(*CALL), *CALL)


def test_it_ends_with_its_time_which_is_never_long() -> None:
    clock = Clock()
    mint = Mint(clock)
    capability = mint.make(*CALL, seconds=1e9)
    assert capability.until == clock.now + MOST_SECONDS
    clock.now += MOST_SECONDS
    with pytest.raises(CapabilityRefused, match="too old"):
        mint.spend(capability, *CALL)


def test_revoking_ends_all_of_them() -> None:
    mint = Mint()
    capability = mint.make(*CALL)
    mint.revoke()
    with pytest.raises(CapabilityRefused):
        mint.spend(capability, *CALL)


def test_it_doesnt_show_itself() -> None:
    capability = Mint().make(*CALL)
    assert capability.tag.hex() not in repr(capability)
    assert repr(capability) == "<Capability for read_file>"
