"""The adapter of a loaded model: read from memory, never from a file, and put on a context."""

import ctypes
from typing import Any

from agent.worker.binding import last_error, llama, memory_stream

__all__ = ["AdapterFailed", "finite", "load_adapter", "put_on"]

_FINITE = bytes(byte for byte in range(256) if byte & 0x7F < 0x7F)
"""The last bytes of float32s that are numbers; a few of the largest numbers have another, too."""


class AdapterFailed(Exception):
    """llama.cpp can't use an adapter; the text is its reason."""


def load_adapter(model: Any, content: bytes) -> Any:  # noqa: ANN401
    """An adapter for a model; free it with `llama_adapter_lora_free`.

    Args:
        model: The llama model.
        content: A GGUF LoRA. What isn't known to fit the model may end this process.

    Raises:
        AdapterFailed: llama.cpp refuses it.
    """
    last_error()
    with memory_stream(content) as stream:
        adapter = llama.llama_adapter_lora_init_from_file_ptr(model, stream)
    if not adapter:
        raise AdapterFailed(last_error() or "llama.cpp gives no reason")
    return adapter


def put_on(context: Any, adapter: Any) -> None:  # noqa: ANN401
    """Have a context evaluate with an adapter, or with none (`None`); what its cache holds is of another then."""
    if adapter is None:
        llama.llama_set_adapters_lora(context, None, 0, None)
        return
    adapters = (llama.llama_adapter_lora_p_ctypes * 1)(adapter)
    llama.llama_set_adapters_lora(context, adapters, 1, (ctypes.c_float * 1)(1.0))


def finite(context: Any, size: int) -> bool:  # noqa: ANN401
    """Whether what a context evaluated last are numbers. llama.cpp's samplers end the process over others.

    Args:
        context: The llama context.
        size: Of the vocabulary.
    """
    logits = ctypes.string_at(llama.llama_get_logits_ith(context, -1), size * ctypes.sizeof(ctypes.c_float))
    return not logits[3::4].translate(None, _FINITE)
