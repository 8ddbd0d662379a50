"""Which models there are: read, verified, accepted, pulled.

A model is used only through `Catalogue.open_verified`, which gives the very bytes that were verified. Nothing here
runs a model; the trial load before a model is accepted is handed in (`agent.inference.probe`).

Names are found when first used, so that opening a model doesn't load what pulls one.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.models.catalogue import Catalogue, OpenModel, Probe, Registered
    from agent.models.embedded import EMBEDDED, EMBEDDED_NAME
    from agent.models.gguf import GgufHeader, read_header
    from agent.models.hub import DEFAULT_ENDPOINT, Hub
    from agent.models.pull import Pull, pull_model
    from agent.models.source import checked_sha256, parse_source
    from agent.models.weights import Progress

__all__ = [
    "DEFAULT_ENDPOINT",
    "EMBEDDED",
    "EMBEDDED_NAME",
    "Catalogue",
    "GgufHeader",
    "Hub",
    "OpenModel",
    "Probe",
    "Progress",
    "Pull",
    "Registered",
    "checked_sha256",
    "parse_source",
    "pull_model",
    "read_header",
]

_HOMES = {
    "DEFAULT_ENDPOINT": "hub",
    "EMBEDDED": "embedded",
    "EMBEDDED_NAME": "embedded",
    "Catalogue": "catalogue",
    "GgufHeader": "gguf",
    "Hub": "hub",
    "OpenModel": "catalogue",
    "Probe": "catalogue",
    "Progress": "weights",
    "Pull": "pull",
    "Registered": "catalogue",
    "checked_sha256": "source",
    "parse_source": "source",
    "pull_model": "pull",
    "read_header": "gguf",
}


def __getattr__(name: str) -> object:
    if module := _HOMES.get(name):
        return getattr(importlib.import_module(f"agent.models.{module}"), name)
    raise AttributeError(f"module 'agent.models' has no attribute {name!r}")
