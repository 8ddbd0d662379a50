"""Whether the network counts bytes, as a NetworkManager on a real bus says."""

import pytest

from fl_client.limits.metered import unmetered
from tests.fl_client.limits.desktop import Answer, Bus


@pytest.mark.parametrize(("says", "may"), [(2, True), (4, True), (1, False), (3, False), (0, None), (9, None)])
def test_only_a_network_that_is_not_known_to_count_bytes_will_do(bus: Bus, says: int, may: bool | None) -> None:
    with bus.network_manager(says) as asked:
        found = unmetered(bus.address)
    assert found.holds is may
    assert bool(found.why) == (not may)
    assert asked == ["Metered"]


@pytest.mark.parametrize(
    "answer", [None, ("v", (("s", "no"),)), ("v", (("b", True),)), ("u", (2,)), ("s", ("v",)), ("", ())]
)
def test_what_network_manager_never_says_is_no_answer(bus: Bus, answer: Answer) -> None:
    with bus.service("org.freedesktop.NetworkManager", {"Metered": answer}):
        found = unmetered(bus.address)
    assert found.holds is None
    assert "NetworkManager" in found.why


def test_without_network_manager_the_network_counts_as_metered(bus: Bus) -> None:
    assert unmetered(bus.address).holds is None
    assert "isn't there" in unmetered("").why
