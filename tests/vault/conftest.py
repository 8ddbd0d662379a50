"""Fixtures of the vault's tests."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture
def loose_umask() -> Iterator[None]:
    """A person whose new files everybody may read and write, if we let them."""
    before = os.umask(0)
    yield
    os.umask(before)
