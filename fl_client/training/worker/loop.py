"""The training loop: AdamW over the adapter's numbers, judged before and after, with checkpoints to go on from."""

import time
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch

from fl_client.training.protocol import Checkpoint, Judged, Order, Row
from fl_client.training.worker.adapter import Adapter
from fl_client.training.worker.base import Unsuitable
from fl_client.training.worker.decoder import Decoder
from fl_client.training.worker.packing import cut, packed
from fl_client.training.worker.turns import order

__all__ = ["Training"]

_MOMENTS = ("exp_avg", "exp_avg_sq")
"""What torch's AdamW calls its running means."""
_CLIP = 1.0
"""Norm that a step's gradient is shortened to."""

Tell = Callable[[int, int, str], None]
"""Told how many parts are done, of how many, and what is being done."""


class Training:
    """One order, from its first step or its checkpoint to its last.

    Args:
        work: The order.
        decoder: The frozen weights.
        adapter: What is trained.
        precision: What the decoder multiplies matrices in.
        tell: Told how far it is; a part is a row.
        keep: Given a checkpoint now and then.

    Raises:
        Unsuitable: the order's numbers, or its checkpoint's, are of another adapter.
    """

    def __init__(
        self,
        work: Order,
        decoder: Decoder,
        adapter: Adapter,
        precision: torch.dtype,
        tell: Tell,
        keep: Callable[[Checkpoint], None],
    ) -> None:
        self._work = work
        self._recipe = work.recipe
        self._decoder = decoder
        self._adapter = adapter
        self._precision = precision
        self._tell = tell
        self._keep = keep
        self._rows = [cut(row, self._recipe.longest) for row in work.rows]
        self._held_out = [cut(row, self._recipe.longest) for row in work.held_out]
        self._optimizer = torch.optim.AdamW([adapter.numbers], lr=self._recipe.learning_rate, weight_decay=0.0)
        self._step = 0
        self._parts = 2 * len(self._held_out) + self._recipe.steps * self._recipe.rows_a_step
        self._done = 0
        self._before: float | None = None
        self.losses: list[float] = []
        self.tokens = 0
        self.seconds = 0.0
        if work.numbers:
            self._set(work.numbers)
        if work.resume:
            self._go_on_from(work.resume)

    def run(self) -> Judged:
        """Train and judge."""
        if self._work.resume is None:
            self._before = self._judge("judging what it begins with")
            self._keep(self._checkpoint())
        recipe = self._recipe
        began = kept = time.monotonic()
        steps = order(len(self._rows), recipe.steps, recipe.rows_a_step, recipe.turns or recipe.seed)
        for number, chosen in enumerate(steps):
            if number < self._step:
                continue
            self._train([self._rows[index] for index in chosen], 1 - number / recipe.steps)
            self._step = number + 1
            if time.monotonic() - kept >= self._work.checkpoint_every or self._step == recipe.steps:
                self._keep(self._checkpoint())
                kept = time.monotonic()
        self.seconds = time.monotonic() - began
        return Judged(self._before, self._judge("judging what it has learned") if self._step else self._before)

    def _train(self, rows: Sequence[Row], rate: float) -> None:
        """One step.

        Args:
            rows: That it is made of.
            rate: Share of the learning rate.
        """
        answers = sum(len(row.tokens) // 4 - row.answer for row in rows)
        total = 0.0
        for batch in packed(rows, self._work.tokens_at_once):
            loss = self._decoder.loss(batch, self._adapter.ups(self._decoder.depth)) / answers
            loss.backward()
            total += loss.item()
            self.tokens += len(batch.tokens)
            self._done += len(batch.lengths)
            self._tell(self._done, self._parts, f"loss {self.losses[-1]:.2f}" if self.losses else "training")
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.learning_rate * rate
        if not torch.nn.utils.clip_grad_norm_([self._adapter.numbers], _CLIP).isfinite():
            raise Unsuitable("it went astray, and computes no numbers any more; fewer passes may do")
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.losses.append(total)

    @torch.no_grad()
    def _judge(self, what: str) -> float | None:
        if not self._held_out:
            return None
        ups = self._adapter.ups(self._decoder.depth)
        total, answers = 0.0, 0
        for batch in packed(self._held_out, self._work.tokens_at_once):
            total += self._decoder.loss(batch, ups).item()
            answers += len(batch.wanted)
            self._done += len(batch.lengths)
            self._tell(self._done, self._parts, what)
        return total / answers

    def _checkpoint(self) -> Checkpoint:
        numbers = self._adapter.numbers
        state = self._optimizer.state.get(numbers) or dict.fromkeys(_MOMENTS, torch.zeros_like(numbers))
        row, *moments = (part.detach().numpy().tobytes() for part in (numbers, *(state[each] for each in _MOMENTS)))
        mean, square = moments
        precision: Literal["float32", "bfloat16"] = "bfloat16" if self._precision is torch.bfloat16 else "float32"
        return Checkpoint(self._step, row, mean, square, tuple(self.losses), self._before, precision)

    def _go_on_from(self, kept: Checkpoint) -> None:
        self._set(kept.numbers)
        self._optimizer.state[self._adapter.numbers] = {
            "step": torch.tensor(float(kept.step)),
            **dict(zip(_MOMENTS, map(self._read, (kept.mean, kept.square)), strict=True)),
        }
        self._step, self._before = kept.step, kept.before
        self.losses = list(kept.losses)
        self._done = len(self._held_out) + kept.step * self._recipe.rows_a_step

    def _set(self, numbers: bytes) -> None:
        with torch.no_grad():
            self._adapter.numbers.copy_(self._read(numbers))

    def _read(self, numbers: bytes) -> torch.Tensor:
        read = np.frombuffer(numbers, "<f4").copy()
        if len(read) != len(self._adapter.numbers) or not np.all(np.isfinite(read)):
            raise Unsuitable("these numbers are of another adapter")
        return torch.from_numpy(read)
