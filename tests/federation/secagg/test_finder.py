"""Neighbours and thresholds that are safe: against the published table, and against graphs that are drawn."""

import math
import os
import random

import pytest

from federation.errors import Malformed
from federation.secagg.finder import Adversity, failure, find
from federation.secagg.graph import RandomGraph


@pytest.mark.parametrize(
    ("adversity", "expected"),
    [
        (Adversity(100, 5, 20, active=False), (20, 6)),
        (Adversity(1000, 50, 200, active=False), (50, 21)),
        (Adversity(100, 5, 20), (44, 25)),
    ],
)
def test_it_finds_what_bell_et_al_find(adversity: Adversity, expected: tuple[int, int]) -> None:
    found = find(adversity)
    assert (found.neighbours, found.threshold) == expected


def test_those_who_can_choose_among_graphs_are_counted_on_to_choose_the_worst() -> None:
    fixed, choosing = Adversity(1000, 50, 200), Adversity(1000, 50, 200, silent=3)
    assert choosing.graphs == 1 + 1000 + 499_500 + 166_167_000
    assert Adversity(1000, 50, 200, roster=1003, silent=1).graphs == 1004
    exposed = [failure(adversity, 166, 103)[0] for adversity in (fixed, choosing)]
    assert exposed[1] - exposed[0] == pytest.approx(math.log2(choosing.graphs))


def test_a_server_that_chooses_who_is_lost_needs_more_than_one_that_does_not() -> None:
    """Bell et al. find (148, 90), where losses are by chance."""
    found = find(Adversity(1000, 50, 200))
    assert (found.neighbours, found.threshold) == (166, 103)
    assert failure(Adversity(1000, 50, 200), 148, 90)[0] > -40


def test_a_server_that_acts_needs_more_neighbours_than_one_that_looks() -> None:
    looking, acting = find(Adversity(300, 15, 60, active=False)), find(Adversity(300, 15, 60))
    assert acting.neighbours > looking.neighbours
    assert 2 * acting.threshold > acting.neighbours


def test_where_nothing_is_safe_it_says_so() -> None:
    with pytest.raises(Malformed, match="larger cohort"):
        find(Adversity(10, 5, 5))


@pytest.mark.parametrize(("cohort", "neighbours", "threshold"), [(24, 6, 4), (30, 8, 6), (40, 10, 6)])
def test_what_it_computes_is_what_happens(cohort: int, neighbours: int, threshold: int) -> None:
    """Of many graphs, as many fail as the bound allows, and not far fewer."""
    adversity = Adversity(cohort, cohort // 5, cohort // 4, active=False)
    dice, rounds = random.Random(7), 3000
    opened = lost = 0
    for _ in range(rounds):
        graph = RandomGraph(os.urandom(32), [bytes([number]) for number in range(cohort)], neighbours)
        corrupt = set(dice.sample(range(cohort), adversity.corrupt))
        missing = set(dice.sample(range(cohort), adversity.lost))
        around = [{place.device for place in graph.neighbours(number)} for number in range(cohort)]
        opened += any(len(near & corrupt) >= threshold for near in around) or _falls_apart(
            around, corrupt | missing
        )
        lost += any(len(near - missing) < threshold for near in around)
    exposed, incomplete = failure(adversity, neighbours, threshold)
    for seen, power in ((opened, exposed), (lost, incomplete)):
        share, bound = seen / rounds, 2**power
        assert share <= bound + 3 * math.sqrt(bound / rounds)
        if bound < 0.3:
            assert share > bound / 50


def _falls_apart(around: list[set[int]], gone: set[int]) -> bool:
    left = set(range(len(around))) - gone
    reached, edge = set[int](), {next(iter(left))} if left else set()
    while edge:
        reached |= edge
        edge = {other for number in edge for other in around[number] & left} - reached
    return reached != left
