"""An adapter's task, fitted to this machine: the order that a round's training is."""

from collections.abc import Sequence

import msgspec

from federation.task import AdapterTraining, Task
from fl_client.errors import NotTrainable
from fl_client.training.base_model import BaseModel
from fl_client.training.factors import count
from fl_client.training.plan import Fitted, Machine, Range, TrainingPlan, fit
from fl_client.training.protocol import Order, Row

__all__ = ["adapter_order", "check_numbers", "fitted_to"]


def fitted_to(
    training: AdapterTraining, base: BaseModel, rows: Sequence[Row], held_out: Sequence[Row], machine: Machine
) -> Fitted:
    """What a task says, fitted to a machine; the numbers that are trained are the same on every one.

    Args:
        training: The task's.
        base: The model.
        rows: To learn from.
        held_out: To judge by.
        machine: What may be taken.

    Raises:
        NotTrainable: there is too little memory.
    """
    steps = max(1, min(training.passes * len(rows) // training.rows_a_step, training.most_steps))
    plan = TrainingPlan(
        kind=training.kind,
        rank=Range(training.rank, training.rank),
        longest=Range(min(256, training.longest), training.longest),
        passes=training.passes,
        steps=Range(steps, steps),
        targets=training.targets,
        rows_a_step=training.rows_a_step,
        learning_rate=training.learning_rate,
        scale=training.scale,
    )
    lengths, others = ([len(row.tokens) // 4 for row in part] for part in (rows, held_out))
    return fit(plan, base, lengths or [training.longest], machine, training.seed, held_out=others)


def check_numbers(task: Task, base: BaseModel, fitted: Fitted) -> None:
    """See that a task is about the numbers of this model's adapter.

    Raises:
        NotTrainable: it isn't.
    """
    there = count(base.targets(fitted.recipe.targets), fitted.recipe)
    if there != (wanted := task.plan.privacy.parameters):
        raise NotTrainable(
            f"{task.name} is about {wanted:,} numbers; with {base.name} there are {there:,}.",
            hint=f"The task's file should say: parameters = {there}",
        )


def adapter_order(
    base: BaseModel,
    fitted: Fitted,
    numbers: bytes,
    rows: Sequence[Row],
    held_out: Sequence[Row],
    turns: bytes,
    threads: int,
) -> Order:
    """What the trainer is told for a round.

    Args:
        base: The model.
        fitted: As `fitted_to` gives it; without steps, where there are no rows.
        numbers: Of the release that the round begins with.
        rows: To learn from; none: it only judges.
        held_out: To judge by.
        turns: 32 bytes; of the order of the rows.
        threads: To compute with.
    """
    recipe = msgspec.structs.replace(fitted.recipe, turns=turns)
    if not rows:
        recipe = msgspec.structs.replace(recipe, steps=0)
    return Order(
        base=str(base.path),
        sha256=base.sha256,
        recipe=recipe,
        rows=list(rows),
        held_out=list(held_out),
        threads=threads,
        tokens_at_once=fitted.tokens_at_once,
        recompute=fitted.recompute,
        numbers=numbers if any(numbers) else b"",
        factors=False,
    )
