"""A small federation for tests: a plan with hardly any noise, so that its sums can be told from wrong ones."""

from federation.combining import Averaging
from federation.plan import Plan
from federation.privacy.plan import PrivacyPlan
from federation.secagg.plan import SecAggPlan
from federation.task import HeadTraining, Stages, Task

__all__ = ["NOISE", "task_of"]

NOISE = 0.05
"""No number of a mean is further from the true one, by far."""


def task_of(
    cohort: int = 20,
    *,
    least: int = 12,
    name: str = "intents",
    parameters: int = 40,
    participations: int = 100,
    rounds: int = 100,
    seconds: int = 20,
    advertise: int = 0,
) -> Task:
    """A task of a head for a few labels."""
    privacy = PrivacyPlan(parameters, 1.0, 500.0, 18, 1, bytes(32))
    neighbours = min(8, (least - 1) // 2 * 2)
    survivors = max(cohort // 2 + 1, neighbours // 2 + 2)
    secagg = SecAggPlan(
        privacy.dimension, 18, neighbours, neighbours // 2 + 1, max(least, survivors), cohort, survivors, 0, 4
    )
    return Task(
        name=name,
        version=1,
        skill="intent-router",
        purpose="To tell what a request wants.",
        data="Requests that you have given as examples.",
        model=bytes(32),
        training=HeadTraining(tuple(f"label {n}" for n in range(parameters // 5)), 1.0, 10, 8, 1e-3),
        combining=Averaging(),
        rounds=rounds,
        most_examples=8,
        stages=Stages(advertise or seconds, *([seconds] * 5)),
        plan=Plan(privacy, secagg, participations, 1e-5),
    )
