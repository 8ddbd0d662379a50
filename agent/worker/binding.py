"""llama.cpp's C interface, through the bindings of llama-cpp-python, without the rest of that package.

`import llama_cpp` also loads its high-level half (numpy, a disk cache, a server's types): 0.2 s and 25 MiB that a
worker doesn't need. So the package is entered by its low-level module alone.
"""

import contextlib
import ctypes
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["abort_when_set", "last_error", "llama", "memory_stream", "open_stream"]


def _load() -> Any:  # noqa: ANN401  the bindings are untyped
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None:
        raise ImportError("llama-cpp-python is not installed")
    sys.modules.setdefault("llama_cpp", importlib.util.module_from_spec(spec))  # made, not run
    return importlib.import_module("llama_cpp.llama_cpp")


llama = _load()
"""The module of bindings: the functions and structures of `llama.h`, by their own names."""

_ERROR_LEVEL = 4
_errors: list[str] = []


def _keep_error(level: int, text: bytes, _data: object) -> None:
    if level == _ERROR_LEVEL:
        _errors[:] = [*_errors, text.decode("utf-8", "replace").strip()][-8:]


# Kept referenced for the life of the process: llama.cpp would call freed memory otherwise.
_log_callback = llama.llama_log_callback(_keep_error)
llama.llama_log_set(_log_callback, ctypes.c_void_p(0))

_libc = ctypes.CDLL(None)
_libc.fdopen.restype = ctypes.c_void_p
_libc.fdopen.argtypes = (ctypes.c_int, ctypes.c_char_p)
_libc.fmemopen.restype = ctypes.c_void_p
_libc.fmemopen.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p)
_libc.fclose.argtypes = (ctypes.c_void_p,)


def last_error() -> str:
    """The errors that llama.cpp has logged since the last call, joined; it explains failures only there."""
    text = "; ".join(_errors)
    _errors.clear()
    return text


def open_stream(descriptor: int) -> ctypes.c_void_p:
    """A C `FILE *` for an open descriptor, to load a model from without opening a path.

    Raises:
        OSError: the descriptor can't be read.
    """
    # The position is shared with whoever else holds the open file: a worker before this one, the digest's reader.
    os.lseek(descriptor, 0, os.SEEK_SET)
    stream = _libc.fdopen(descriptor, b"rb")
    if not stream:
        raise OSError("the model's descriptor can't be read")
    return ctypes.c_void_p(stream)


@contextlib.contextmanager
def memory_stream(data: bytes) -> Iterator[ctypes.c_void_p]:
    """A C `FILE *` over bytes in memory (POSIX.1-2008, fmemopen): no file, no descriptor, no system call.

    Raises:
        MemoryError: there is no memory for its buffer, or there are no bytes.
    """
    stream = _libc.fmemopen(data, len(data), b"rb")
    if not stream:
        raise MemoryError
    try:
        yield ctypes.c_void_p(stream)
    finally:
        _libc.fclose(stream)


def abort_when_set(context: Any, flag: "ctypes.Array[ctypes.c_char]") -> None:  # noqa: ANN401
    """Let an evaluation of `context` end early as soon as `flag[0]` is no longer zero.

    llama.cpp asks its abort callback after every node of the graph, about 900 times a token for a small model. A
    Python callback made decoding 20 % slower (measured); C's own `strlen`, pointed at a flag of two bytes, answers
    the same question (0 while the first is zero, else 1) in nanoseconds and without the interpreter's lock.

    Args:
        context: The llama context.
        flag: Two bytes, both zero; the second stays so. The caller keeps it as long as the context.
    """
    callback = ctypes.cast(_libc.strlen, llama.ggml_abort_callback)
    llama.llama_set_abort_callback(context, callback, ctypes.cast(flag, ctypes.c_void_p))
