"""Asking a model for JSON of one form, and believing only what has it."""

import json
from typing import TypeVar

import msgspec

from skills.errors import ModelUnfit
from skills.model import LanguageModel

__all__ = ["as_schema", "ask_for", "leave_room", "quoted", "text_of"]

Form = TypeVar("Form", bound=msgspec.Struct)

_MARK = '"""'


def text_of(most: int, least: int = 3) -> dict[str, object]:
    """The schema of a text of so many characters."""
    return {"type": "string", "minLength": least, "maxLength": most}


def as_schema(**properties: object) -> str:
    """The JSON schema of an object that has all of these properties, and nothing else."""
    return json.dumps(
        {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    )


def quoted(text: str) -> str:
    """A foreign text between marks that it doesn't hold itself, as the prompts call it."""
    return f"{_MARK}\n{text.replace(_MARK, '”')}\n{_MARK}"


def ask_for(
    form: type[Form],
    model: LanguageModel,
    system: str,
    text: str,
    schema: str,
    *,
    max_tokens: int,
    repeat_penalty: float = 1.05,
) -> Form | None:
    """Ask for an object.

    Args:
        form: What is made of it.
        model: Asked.
        system: What it is to do.
        text: With what.
        schema: That the object is made to fit; what `form` reads.
        max_tokens: Most tokens of the answer.
        repeat_penalty: As `LanguageModel.ask` has it.

    Returns:
        The object; `None` where the model came to no end of it.
    """
    answer = model.ask(system, text, schema=schema, max_tokens=max_tokens, repeat_penalty=repeat_penalty)
    try:
        return msgspec.json.decode(answer.text, type=form)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def leave_room(model: LanguageModel, needed: int) -> None:
    """Make sure that the questions of a skill fit a model's window.

    Raises:
        ModelUnfit: they don't.
    """
    if model.context < needed:
        raise ModelUnfit(
            f"This skill needs a context window of {needed:,} tokens; the model's has {model.context:,}.",
            hint="Choose another model with -m, or raise inference.context.",
        )
