"""What all tests share."""

pytest_plugins = ["tests.fixtures.https_server", "tests.fixtures.models"]
