"""What all tests share."""

import signal

import pytest

# In the order of who stands on whom: pytest rewrites the assertions of what isn't imported yet.
pytest_plugins = [
    "tests.fixtures.https_server",
    "tests.fixtures.keychain",
    "tests.fixtures.models",
    "tests.fixtures.doors",
    "tests.fixtures.processes",
    "tests.fixtures.softhsm",
    "tests.fixtures.command",
    "tests.fixtures.postgresql",
]


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Ctrl-C means what it does at a terminal, here and in what we start: background jobs ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
