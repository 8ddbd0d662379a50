"""A load balancer in front of replicas, as an operator would put one there: HAProxy, which passes TLS through."""

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.orchestrator.replicas import free_port, trusting

__all__ = ["HAPROXY", "balanced"]

HAPROXY = shutil.which("haproxy") or next(
    (str(path) for path in (Path("/usr/sbin/haproxy"), Path("/usr/local/sbin/haproxy")) if path.exists()), ""
)
_CONFIGURATION = """\
global
    maxconn 4000
defaults
    mode tcp
    timeout connect 2s
    timeout client 5m
    timeout server 5m
    retries 3
    option redispatch
frontend devices
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    balance leastconn
    option httpchk GET /v1/health
    http-check expect status 204
    default-server check check-ssl verify none inter 1s fall 3 rise 1 on-marked-down shutdown-sessions
"""
_WITHIN_S = 60


@contextmanager
def balanced(folder: Path, addresses: Sequence[str], certificate: Path) -> Iterator[str]:
    """One address for several replicas, until the end.

    Args:
        folder: For its configuration.
        addresses: Of the replicas.
        certificate: Theirs.
    """
    port = free_port()
    file = folder / "haproxy.cfg"
    servers = [f"    server replica{n} {one.removeprefix('https://')}" for n, one in enumerate(addresses)]
    file.write_text(_CONFIGURATION.format(port=port) + "\n".join([*servers, ""]))
    process = subprocess.Popen(
        [HAPROXY, "-db", "-f", str(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"https://127.0.0.1:{port}"
    try:
        _wait_for(address, certificate)
        yield address
    finally:
        process.kill()
        process.wait()


def _wait_for(address: str, certificate: Path) -> None:
    until = time.monotonic() + _WITHIN_S
    while True:
        try:
            assert httpx.get(f"{address}/v1/health", verify=trusting(certificate)).status_code == 204
        except httpx.TransportError:
            assert time.monotonic() < until, "nobody answers behind the load balancer"
            time.sleep(0.1)
        else:
            return
