"""How a merge is told: what `claw vault import` and `claw vault restore --merge` have in common."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from cli.console import Console

if TYPE_CHECKING:
    from vault.portability.merge import Merged

__all__ = ["say_merged"]


def say_merged(
    console: Console, merged: "Merged", skipped: Mapping[str, int] | None = None, empty: int = 0, *, as_json: bool
) -> None:
    """Tell what became of everything.

    Args:
        console: The person.
        merged: What was added.
        skipped: What wasn't taken, by the reason.
        empty: Conversations without anything to take.
        as_json: For a program.
    """
    skipped = skipped or {}
    if as_json:
        told = {**msgspec.structs.asdict(merged), "skipped": dict(skipped), "empty": empty}
        print(msgspec.json.encode(told).decode())
        return
    lines = [
        (merged.added, _few(merged.added, "conversation", "added")),
        (merged.extended, _few(merged.extended, "conversation", "here already, with more messages now")),
        (merged.copied, "added under new ids, because others have theirs here"),
        (merged.messages, _few(merged.messages, "message", "added")),
        (merged.models, _few(merged.models, "registration", "of models added")),
        (merged.notes, _few(merged.notes, "note", "added")),
        (merged.examples, _few(merged.examples, "training example", "added")),
        (merged.known, _few(merged.known, "conversation", "here already")),
        (merged.erased, "erased here on purpose, staying away"),
        (merged.buried, "erased there on purpose; merging a backup won't bring it back here"),
        (empty, _few(empty, "empty conversation", "left out")),
        *((count, f"left out: {reason}") for reason, count in sorted(skipped.items())),
    ]
    for count, what in lines:
        if count:
            console.say(f"{count:>9,}  {what}")
    if not any(count for count, _ in lines):
        console.say("There was nothing in it.")


def _few(count: int, name: str, what: str) -> str:
    return f"{name}{'s' * (count != 1)} {what}"
