"""Flower's SuperLink, started as its documentation says, with authenticated nodes over TLS."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx

from benchmarks.signed_load import http_request
from orchestrator.tls import make_certificate, make_key
from tests.orchestrator.replicas import free_port, trusting

__all__ = ["SuperLink", "superlink"]

_NODES = Path(__file__).parent / "flower_superlink.py"
_POLL = "/v1/fleet/pull-messages"
_WITHIN_S = 60


class SuperLink(NamedTuple):
    """One that runs.

    Attributes:
        address: Where.
        certificate: Its own, in a file.
        pid: Of its process.
        polls: A request of each node, with which it asks for work.
    """

    address: str
    certificate: Path
    pid: int
    polls: list[bytes]


@contextlib.contextmanager
def superlink(python: str, folder: Path, nodes: int) -> Iterator[SuperLink]:
    """A SuperLink with some nodes, until the end.

    Args:
        python: A Python that has Flower.
        folder: For its files.
        nodes: How many.
    """
    key, certificate = folder / "superlink.key", folder / "superlink.crt"
    make_key(key)
    make_certificate(certificate, key, "127.0.0.1")
    here, fleet = (f"127.0.0.1:{free_port()}" for _ in range(2))
    host, _, port = here.partition(":")
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "FLWR_HOME": str(folder / "flower")}
    files = ("--ssl-certfile", certificate), ("--ssl-keyfile", key), ("--ssl-ca-certfile", certificate)
    arguments = [str(part) for pair in files for part in pair]
    arguments += ["--enable-supernode-auth", "--isolation", "process", "--host", host, "--port", port]
    process = subprocess.Popen(
        [str(Path(python).parent / "flower-superlink"), *arguments, "--fleet-api-address", fleet],
        env=os.environ | quiet,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"https://{here}", certificate)
        asked = json.dumps({"address": here, "trusted": str(certificate), "nodes": nodes})
        told = subprocess.run(
            [python, _NODES, asked], env=os.environ | quiet, capture_output=True, text=True, check=True, timeout=600
        )
        polls = [
            http_request("POST", _POLL, headers, bytes.fromhex(body))
            for headers, body in json.loads(told.stdout.splitlines()[-1])
        ]
        yield SuperLink(f"https://{here}", certificate, process.pid, polls)
    finally:
        process.terminate()
        process.wait()


def _wait_for(address: str, certificate: Path) -> None:
    until = time.monotonic() + _WITHIN_S
    while True:
        try:
            httpx.get(address, verify=trusting(certificate))
        except httpx.TransportError:
            if time.monotonic() > until:
                raise SystemExit("Flower's SuperLink doesn't answer.") from None
            time.sleep(0.1)
        else:
            return
