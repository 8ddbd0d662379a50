"""What all tests share."""

# In the order of who stands on whom: pytest rewrites the assertions of what isn't imported yet.
pytest_plugins = [
    "tests.fixtures.https_server",
    "tests.fixtures.keychain",
    "tests.fixtures.models",
    "tests.fixtures.processes",
    "tests.fixtures.command",
]
