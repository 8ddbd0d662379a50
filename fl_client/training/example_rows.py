"""A skill's examples as rows to learn from, and others as rows to judge by."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from fl_client.errors import NotTrainable, TrainingStopped
from fl_client.training.protocol import Row
from vault.example_store import Example, ExampleStore
from vault.pause import PauseLatch

if TYPE_CHECKING:
    from vault.store import Vault

__all__ = ["FEWEST", "Encoder", "Rows", "Text", "encoded", "read_rows"]

FEWEST = 10
"""Fewest examples: of less than that, nothing is learned but their words."""
_HELD_OUT_SHARE, _MOST_HELD_OUT = 10, 40
_LONGEST_TEXT = 1 << 17
"""Characters of a text beyond which it isn't made tokens of: no row is that long."""


class Text(NamedTuple):
    """One example.

    Attributes:
        input: What goes in.
        output: What should come out.
    """

    input: str
    output: str


class Encoder(Protocol):
    """Whoever makes tokens of texts, as they stand in a conversation with the model."""

    def encode(self, text: Text) -> tuple[Sequence[int], Sequence[int]]:
        """The tokens of all that stands before the reply, and those of the reply with its end."""
        ...


class Rows(NamedTuple):
    """What a training is given.

    Attributes:
        learned_from: The ids of the examples in `rows`.
        rows: To learn from.
        held_out: To judge by; none of them is among `rows`.
    """

    learned_from: tuple[str, ...]
    rows: list[Row]
    held_out: list[Row]


def read_rows(
    vault: "Vault",
    skill: str,
    encoder: Encoder,
    held_out: Sequence[Text] = (),
    *,
    progress: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
) -> Rows:
    """Read the examples of a skill.

    Args:
        vault: Open.
        skill: The skill's name.
        encoder: Makes tokens of them.
        held_out: To judge by, but for those that are learned from; none: a tenth of the examples is held out.
        progress: Told how many are read, of how many.
        stop: Ends it, when set.

    Raises:
        NotTrainable: there are too few, or none is left to judge by.
        TrainingStopped: `stop` was set.
        Paused: everything is paused.
    """
    examples = list(ExampleStore(vault.database).all(skill))
    if len(examples) < FEWEST:
        raise NotTrainable(
            f"{skill} has {len(examples)} example{'s' * (len(examples) != 1)}; "
            f"training takes {FEWEST} at least, and gets better with each.",
            hint="`claw skill examples add` takes one, `claw skill examples import` a file of them.",
        )
    judged_by = list(held_out)
    if not judged_by:
        examples, chosen = _split(examples)
        judged_by = [Text(one.input, one.output) for one in chosen]
    texts = [Text(one.input, one.output) for one in examples]
    learned = set(texts)
    judged_by = [text for text in judged_by if text not in learned]
    if not judged_by:
        raise NotTrainable(
            "All of the examples to judge by are among those to learn from.",
            hint="Name a file of others, or leave out --held-out.",
        )
    rows = []
    latch = PauseLatch(vault.home)
    for done, text in enumerate((*texts, *judged_by)):
        latch.check()
        if stop and stop.is_set():
            raise TrainingStopped("The training was stopped.")
        rows.append(encoded(encoder, text))
        if progress:
            progress(done + 1, len(texts) + len(judged_by))
    return Rows(tuple(one.id for one in examples), rows[: len(texts)], rows[len(texts) :])


def encoded(encoder: Encoder, text: Text) -> Row:
    """An example as a row of tokens; of a text that no row could hold, its beginning."""
    before, reply = encoder.encode(Text(text.input[:_LONGEST_TEXT], text.output[:_LONGEST_TEXT]))
    return Row(np.array([*before, *reply], "<i4").tobytes(), len(before))


def _split(examples: list[Example]) -> tuple[list[Example], list[Example]]:
    """Those to learn from, and those to judge by: a tenth, the same ones as long as the examples stay the same."""
    held_out = min(max(len(examples) // _HELD_OUT_SHARE, 2), _MOST_HELD_OUT)
    drawn = sorted(examples, key=lambda one: hashlib.sha256(one.id.encode()).digest())[:held_out]
    chosen = {one.id for one in drawn}
    return [one for one in examples if one.id not in chosen], drawn
