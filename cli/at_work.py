"""A model and a skill's examples as they stand at work: what training is given, and judged by."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import Console
from vault.sanitize import sanitize_line

if TYPE_CHECKING:
    from agent.inference import Inference
    from agent.models.gguf import GgufHeader
    from fl_client.participation.learning import OpenModel
    from fl_client.training.base_model import BaseModel
    from fl_client.training.example_rows import Encoder, Text
    from skills.library import Skill
    from vault.store import Vault

__all__ = ["SHARE_OF_ROW", "AsAtWork", "base_of", "instructions", "opener"]

SHARE_OF_ROW = 3
"""A third of a row may be instructions, the same in each: with more, little of the examples would be left."""
_LONGEST_ROW = 1024


def opener(console: Console, vault: "Vault") -> "OpenModel":
    """Opens models by their digest, for `fl_client.participation`."""

    @contextlib.contextmanager
    def open_model(sha256: str, skill: str) -> "Iterator[tuple[BaseModel, Encoder]]":
        from agent.inference import Inference
        from agent.models.catalogue import Catalogue
        from agent.models.gguf import read_header
        from vault.errors import NotFound

        catalogue = Catalogue(console.home, vault.models)
        name = next((record.name for record in catalogue.all() if record.sha256 == sha256), None)
        if name is None:
            raise NotFound(
                f"This device hasn't got the model {sha256[:12]}… that the task is for.",
                hint="`claw model pull` fetches one; the federation says which.",
            )
        with catalogue.open_verified(name) as weights:
            base = base_of(
                read_header(weights.descriptor), weights.path.resolve(), weights.record.name, weights.record.sha256
            )
            with Inference(weights, console.settings.inference) as inference:
                encoder = AsAtWork(inference, console.settings.assistant.system)
                encoder.stand_behind(instructions(vault, skill, console.say), _LONGEST_ROW // SHARE_OF_ROW)
                yield base, encoder

    return open_model


class AsAtWork:
    """Makes tokens of examples as they stand where they are used: a `fl_client.training.example_rows.Encoder`."""

    def __init__(self, inference: "Inference", system: str) -> None:
        self._inference = inference
        self._system = system

    def stand_behind(self, skill: "Skill | None", most: int) -> str:
        """Put before each example what stands there at work: the system prompt, and a skill's instructions.

        Args:
            skill: That is followed, if any.
            most: Tokens that all of it may have; what has more is left out, a skill's instructions first.

        Returns:
            What was left out, with its verb; empty for nothing.
        """
        from agent.tool_use import following

        plain = self._system
        if skill is not None:
            self._system = following(plain, skill)
            if self._length() <= most:
                return ""
            self._system = plain
        if self._length() > most:
            self._system = ""
            return "your system prompt is"
        return "" if skill is None else f"the instructions of {skill.file.name} are"

    def _length(self) -> int:
        from fl_client.training.example_rows import Text

        return len(self.encode(Text("", ""))[0])

    def encode(self, text: "Text") -> tuple[list[int], list[int]]:
        """The tokens of all that stands before the reply, and those of the reply with its end."""
        from agent.worker.protocol import ChatMessage

        messages = [ChatMessage("user", text.input)]
        if self._system:
            messages.insert(0, ChatMessage("system", self._system))
        made = self._inference.encode(messages, text.output)
        return list(memoryview(made.prompt).cast("i")), list(memoryview(made.reply).cast("i"))


def instructions(vault: "Vault", name: str, say: Callable[[str], None]) -> "Skill | None":
    """A skill that the model follows, if one of that name may be used; a bundled one asks in its own words."""
    from skills.bundled import is_bundled
    from skills.errors import SkillRefused
    from skills.library import Library
    from vault.errors import NotFound

    try:
        return None if is_bundled(name) else Library(vault).use(name)
    except NotFound:
        return None
    except SkillRefused as error:
        say(f"[{error.message} It is trained without its instructions.]")
        return None


def base_of(header: "GgufHeader", path: Path, name: str, sha256: str) -> "BaseModel":
    """What training has to know of a model.

    Args:
        header: Of its file.
        path: Of its file.
        name: What a person calls it.
        sha256: The file's digest, in hex.
    """
    from fl_client.training.base_model import BaseModel

    return BaseModel(
        path=path,
        sha256=sha256,
        name=name,
        architecture=sanitize_line(header.architecture, 40),
        parameters=header.parameters,
        layers=header.block_count,
        width=header.embedding_length,
        inner=header.feed_forward_length,
        heads=header.head_count,
        kv_heads=header.head_count_kv,
        head_size=header.key_length,
        tensor_kinds=header.tensor_kinds,
        rope_scaling=header.rope_scaling,
    )
