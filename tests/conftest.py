"""What all tests share."""

pytest_plugins = [
    "tests.fixtures.https_server",
    "tests.fixtures.keychain",
    "tests.fixtures.models",
    "tests.fixtures.processes",
]
