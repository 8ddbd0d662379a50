"""The real model in this very process, to look inside."""

import os
from pathlib import Path

import pytest

from agent.worker.engine import Engine
from agent.worker.protocol import Setup


def open_engine(path: Path, *, context: int = 1024) -> Engine:
    """An engine for a model file, in this process and unconfined."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    setup = Setup(
        model=descriptor,  # closed by the C stream that is made of it, at exit
        threads=1,
        context=context,
        gpu_layers=0,
        memory_free=8 * 2**30,
        memory_limit=0,
        confine=False,
    )
    return Engine(setup, gpu=False)


@pytest.fixture(scope="session")
def engine(smollm: Path) -> Engine:
    """The embedded model; its cache is whatever the last test left there."""
    return open_engine(smollm)


@pytest.fixture(scope="session")
def spaced_engine(tiny_model: Path) -> Engine:
    """The tiny model, whose SentencePiece vocabulary puts a space before what it is given."""
    return open_engine(tiny_model, context=256)
