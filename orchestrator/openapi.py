"""The interface's description: `python -m orchestrator.openapi > docs/openapi.json`."""

import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from orchestrator.app import application
from orchestrator.content import Content
from orchestrator.database import Database
from orchestrator.service import Service
from orchestrator.unsigned import Unsigned

__all__ = ["described"]


def described(folder: Path) -> str:
    """The OpenAPI document, in JSON; made without a database.

    Args:
        folder: An empty one; nothing is written to it.
    """
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    service = Service(Database("sqlite:///nowhere"), Content(str(folder)), bytes(32), key)
    return json.dumps(application(service, Unsigned(0, 1)).openapi(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(described(Path("/tmp")))  # noqa: S108  nothing is written there
