"""How the assistant thinks: models, the inference worker, the context, the loop of question and answer.

The public names are loaded when first used, so that the worker process, which lives in this package, starts light.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.assistant import Assistant
    from agent.errors import AgentError
    from agent.inference import Inference

__all__ = ["AgentError", "Assistant", "Inference"]

_HOMES = {"AgentError": "errors", "Assistant": "assistant", "Inference": "inference"}


def __getattr__(name: str) -> object:
    if module := _HOMES.get(name):
        return getattr(importlib.import_module(f"agent.{module}"), name)
    raise AttributeError(f"module 'agent' has no attribute {name!r}")
