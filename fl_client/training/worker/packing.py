"""Rows into batches: one behind the other, nothing between them, the answer's tokens marked."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from fl_client.training.protocol import Row
from fl_client.training.worker.decoder import Batch

__all__ = ["cut", "packed"]


def cut(row: Row, longest: int) -> Row:
    """A row of at most so many tokens.

    Of what goes in, the end is left out, but for the few tokens that say whose turn it is; where what should come
    out is too long by itself, its end goes too.
    """
    tokens = np.frombuffer(row.tokens, "<i4")
    if len(tokens) <= longest:
        return row
    head, answer = tokens[: row.answer], tokens[row.answer :]
    answer = answer[: max(longest // 2, longest - len(head))]
    turn = head[-min(_TURN, len(head) // 2) :]
    head = np.concatenate((head[: longest - len(answer) - len(turn)], turn))
    return Row(np.concatenate((head, answer)).tobytes(), len(head))


_TURN = 8
"""Tokens at the end of what goes in that are the chat template's: one turn's end, and the next one's begin."""


def packed(rows: Sequence[Row], at_once: int) -> Iterator[Batch]:
    """Rows as batches of at most so many tokens; a longer one is alone in its batch."""
    waiting: list[Row] = []
    tokens = 0
    for row in sorted(rows, key=lambda row: len(row.tokens)):
        length = len(row.tokens) // 4
        if waiting and tokens + length > at_once:
            yield _batch(waiting)
            waiting, tokens = [], 0
        waiting.append(row)
        tokens += length
    if waiting:
        yield _batch(waiting)


def _batch(rows: Sequence[Row]) -> Batch:
    tokens = [np.frombuffer(row.tokens, "<i4") for row in rows]
    asked, begin = [], 0
    for row, of_row in zip(rows, tokens, strict=True):
        asked.append(np.arange(begin + row.answer - 1, begin + len(of_row) - 1))
        begin += len(of_row)
    together = torch.from_numpy(np.concatenate(tokens).astype(np.int64))
    positions = torch.from_numpy(np.concatenate(asked))
    return Batch(together, [len(of_row) for of_row in tokens], positions, together[positions + 1])
