"""Tools that remember: add a short note to the vault, and find notes again."""

from typing import Annotated

import msgspec

from skills.errors import ToolFailed
from skills.tools.tool import Arguments, Effect, Plan, Resource, Tool
from vault.classes import DataClass
from vault.errors import NoteRefused
from vault.note_store import LONGEST_NOTE, NoteStore
from vault.sanitize import sanitize, sanitize_line

__all__ = ["note_tools"]

_MOST_FOUND = 10


def _about(_given: object) -> tuple[Resource, ...]:
    return (Resource("vault", "notes"),)


class AddNote(Arguments, frozen=True):
    """What to remember."""

    text: Annotated[str, msgspec.Meta(min_length=1, description="what to remember, in a sentence")]


class SearchNotes(Arguments, frozen=True):
    """What to look for."""

    words: Annotated[str, msgspec.Meta(min_length=1, description="words that the note may hold")]


def note_tools(notes: NoteStore) -> list[Tool[AddNote] | Tool[SearchNotes]]:
    """The tools that remember."""

    def plan_add(given: AddNote, _resources: object) -> Plan:
        if len(given.text) > LONGEST_NOTE or not sanitize(given.text).strip():
            raise ToolFailed(f"A note has between one and {LONGEST_NOTE:,} characters.")

        def work(_running: object) -> str:
            try:
                notes.add(given.text, "the assistant")
            except NoteRefused as error:
                raise ToolFailed(error.message) from None
            return "It is noted."

        return Plan("remember a note", work, details=sanitize(given.text))

    def plan_search(given: SearchNotes, _resources: object) -> Plan:
        def work(_running: object) -> str:
            found = notes.search(given.words, _MOST_FOUND)
            return "\n".join(f"- {note.text}" for note in found) or "No note holds these words."

        return Plan(f"search your notes for {sanitize_line(given.words, 80)!r}", work)

    medium = DataClass.MEDIUM
    return [
        Tool(
            "add_note",
            "notes.add",
            "Remember something for later.",
            AddNote,
            Effect.REMEMBER,
            medium,
            plan_add,
            _about,
        ),
        Tool(
            "search_notes",
            "notes.search",
            "Find what was noted before.",
            SearchNotes,
            Effect.READ,
            medium,
            plan_search,
            _about,
            foreign=True,  # an import may have brought them, or a tool
        ),
    ]
