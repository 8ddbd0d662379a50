"""What models are called: short names that are safe as file names and easy to type."""

import re

from agent.errors import RequestRefused
from agent.models.embedded import EMBEDDED_NAME
from vault.model_store import LONGEST_NAME, NAME

__all__ = ["checked_name", "name_from_file"]


def name_from_file(file_name: str) -> str:
    """The name a model gets when nobody gives one: `Qwen3 0.6B-Q8_0.gguf` becomes `qwen3-0.6b-q8_0`.

    Raises:
        RequestRefused: nothing of the file's name can be used, or the name is the embedded model's.
    """
    stem = re.sub(r"\.gguf$", "", file_name.lower())
    name = re.sub(r"[^a-z0-9._-]+", "-", stem).lstrip("._-")[:LONGEST_NAME].rstrip("._-")
    if not name:
        raise RequestRefused(
            "No name for the model can be made of the file's name.", hint="Give it one: --name NAME"
        )
    return checked_name(name)


def checked_name(name: str) -> str:
    """The name itself, if a new model may bear it.

    Raises:
        RequestRefused: it can't be a model's name, or is the embedded model's.
    """
    if not NAME.fullmatch(name):
        raise RequestRefused(
            f"{name!r} can't be a model's name.",
            hint=f"Use up to {LONGEST_NAME} of the characters a-z 0-9 . _ -, beginning with a letter or digit.",
        )
    if name == EMBEDDED_NAME:
        raise RequestRefused(
            f"{name} is the name of the embedded model, which stays.", hint="Give it another: --name NAME"
        )
    return name
