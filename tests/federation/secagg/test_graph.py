"""The random regular graph: symmetric, regular, from its seed alone."""

import os

from hypothesis import given
from hypothesis import strategies as st

from federation.secagg.graph import RandomGraph


def devices(count: int) -> list[bytes]:
    return [number.to_bytes(4, "big") for number in range(count)]


@given(st.integers(3, 40), st.binary(min_size=32, max_size=32), st.data())
def test_each_device_has_as_many_neighbours_and_is_theirs_too(count: int, seed: bytes, data: st.DataObject) -> None:
    degree = 2 * data.draw(st.integers(1, (count - 1) // 2))
    graph = RandomGraph(seed, devices(count), degree)
    for number in range(count):
        places = graph.neighbours(number)
        assert [place.point for place in places] == list(range(1, degree + 1))
        assert len({place.device for place in places} - {number}) == degree
        for place in places:
            assert number in {other.device for other in graph.neighbours(place.device)}
            assert graph.point_of(number, place.device) == place.point


def test_every_pair_is_as_often_neighbours_as_any_other() -> None:
    counts = [[0] * 8 for _ in range(8)]
    for _ in range(3000):
        graph = RandomGraph(os.urandom(32), devices(8), 2)
        for number in range(8):
            for place in graph.neighbours(number):
                counts[number][place.device] += 1
    expected = 3000 * 2 / 7
    assert all(abs(counts[i][j] - expected) < 6 * expected**0.5 for i in range(8) for j in range(8) if i != j)


def test_the_seed_alone_makes_it() -> None:
    one, same, other = (RandomGraph(seed * 32, devices(30), 4) for seed in (b"a", b"a", b"b"))
    assert [one.neighbours(n) for n in range(30)] == [same.neighbours(n) for n in range(30)]
    assert [one.neighbours(n) for n in range(30)] != [other.neighbours(n) for n in range(30)]
