"""Who has which examples: none twice, none without, and as unlike each other as was asked for."""

import numpy as np
import pytest

from fl_client.errors import SimulationRefused
from fl_client.simulation.partition import MOST_EXAMPLES, ByField, Dirichlet, Owned, deal, read_partition

LABELS = [number % 10 for number in range(400)]
MEETINGS = [f"meeting {min(number // 30, 9)}" for number in range(400)]


def dice(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def labels_known(owned: list[Owned]) -> float:
    return float(np.mean([len({LABELS[place] for place in own}) / len(own) for own in owned if len(own) > 1]))


@pytest.mark.parametrize("how", [ByField("meeting"), Dirichlet(0.3)])
@pytest.mark.parametrize("devices", [3, 10, 57, 200, 400])
def test_every_device_has_examples_and_no_example_is_dealt_twice(how: ByField | Dirichlet, devices: int) -> None:
    owned = deal(how, MEETINGS, LABELS, devices, dice())
    assert len(owned) == devices
    assert all(len(own) for own in owned)
    places = np.concatenate(owned)
    assert len(set(places.tolist())) == len(places)
    if isinstance(how, ByField) or devices * MOST_EXAMPLES >= len(LABELS):
        assert len(places) == len(LABELS)


def test_a_device_has_one_meeting_where_there_are_enough_devices_and_whole_ones_where_there_are_not() -> None:
    for own in deal(ByField("meeting"), MEETINGS, LABELS, 25, dice()):
        assert len({MEETINGS[place] for place in own}) == 1
    owned = deal(ByField("meeting"), MEETINGS, LABELS, 4, dice())
    holders = [
        {number for number, own in enumerate(owned) for place in own if MEETINGS[place] == meeting}
        for meeting in set(MEETINGS)
    ]
    assert all(len(holder) == 1 for holder in holders)


def test_the_smaller_alpha_is_the_fewer_labels_a_device_knows() -> None:
    few, many = (labels_known(deal(Dirichlet(alpha), [], LABELS, 60, dice())) for alpha in (0.02, 50.0))
    assert few < 0.6 * many


def test_a_device_has_a_handful_of_examples_at_most() -> None:
    sizes = [len(own) for own in deal(Dirichlet(0.3), [], LABELS, 30, dice())]
    assert max(sizes) <= MOST_EXAMPLES
    assert sum(sizes) == 400


def test_the_same_chance_deals_the_same_and_another_one_otherwise() -> None:
    one, same, other = (deal(Dirichlet(0.3), [], LABELS, 60, dice(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(own, its) for own, its in zip(one, same, strict=True))
    assert not all(np.array_equal(own, its) for own, its in zip(one, other, strict=True))


def test_more_devices_than_examples_are_refused() -> None:
    with pytest.raises(SimulationRefused, match="too few"):
        deal(Dirichlet(0.3), [], LABELS, 401, dice())


def test_a_partition_is_read_as_it_is_written() -> None:
    assert read_partition("by=meeting") == ByField("meeting")
    assert read_partition("dirichlet(0.3)") == Dirichlet(0.3)
    assert read_partition("dirichlet( 1e-2 )") == Dirichlet(0.01)


@pytest.mark.parametrize(
    "text", ["", "by=", "dirichlet", "dirichlet()", "dirichlet(0)", "dirichlet(.)", "dirichlet(-1)", "iid"]
)
def test_what_is_no_partition_is_refused(text: str) -> None:
    with pytest.raises(SimulationRefused, match="no way"):
        read_partition(text)
