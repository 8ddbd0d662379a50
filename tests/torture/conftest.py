"""The rig, one for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.torture.recorder import compile_disk
from tests.torture.rig import Rig


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that is preloaded."""
    return compile_disk(tmp_path_factory.mktemp("disk"))


@pytest.fixture(scope="session")
def rig(disk: Path) -> Iterator[Rig]:
    """A running rig."""
    with Rig(disk) as rig:
        yield rig
