"""A federation as an operator runs it: the command's own processes, over TLS, any number of replicas."""

import asyncio
import contextlib
import multiprocessing
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
import unittest.mock
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.api import ReleaseInfo
from federation.invites import Invite
from federation.messages import decode
from federation.releases import Release
from federation.task import Task
from orchestrator.command import main
from orchestrator.commands.parts import opened
from orchestrator.settings import Home

__all__ = ["Operator", "free_port", "trusting"]


class Operator:
    """Runs the `claw-orchestrator` command.

    Args:
        folder: For everything.
        replicas: How many.
        database: Its URL; SQLite if not given.
        forks: Replicas are forks of a process that has the code loaded: for who kills many of them.

    Attributes:
        addresses: Of the replicas.
        certificate: Theirs.
    """

    def __init__(self, folder: Path, replicas: int = 1, database: str = "", *, forks: bool = False) -> None:
        self._forks = forks
        self._folder = folder / "federation"
        self.certificate = self._folder / "keys" / "tls.crt"
        self._environment = dict(os.environ)
        if database:
            self._environment["CLAW_ORCHESTRATOR_DATABASE"] = database
        ports = [free_port() for _ in range(replicas)]
        self.addresses = [f"https://127.0.0.1:{port}" for port in ports]
        self._listen = [f"127.0.0.1:{port}" for port in ports]
        self._replicas: dict[int, subprocess.Popen[bytes] | _Fork] = {}
        self._registrar: subprocess.Popen[bytes] | None = None
        self._log = open(folder / "log", "ab")  # noqa: SIM115  closed with the rest
        self.run("init", "--name", "test", "--address", self.addresses[0], "--listen", self._listen[0])

    def run(self, *arguments: str) -> str:
        """A verb to its end; what it printed."""
        done = subprocess.run(
            self._command(*arguments),
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """All replicas and the registrar, until the end."""
        for number in range(len(self.addresses)):
            self.start(number)
        self._registrar = self._start("registrar")
        try:
            for address in self.addresses:
                self.wait_for(address)
            yield
        finally:
            for process in (*self._replicas.values(), self._registrar):
                process.kill()
                process.wait()
            self._log.close()

    def start(self, number: int) -> None:
        """Start a replica."""
        arguments = "serve", "--listen", self._listen[number]
        if self._forks:
            command = ["--folder", str(self._folder), *arguments]
            self._replicas[number] = _Fork(command, self._environment, self._log.name)
        else:
            self._replicas[number] = self._start(*arguments)

    def pid(self, number: int) -> int:
        """Of a replica."""
        return self._replicas[number].pid

    def kill(self, number: int, how: signal.Signals = signal.SIGKILL) -> int:
        """End a replica; its exit status."""
        self._replicas[number].send_signal(how)
        return self._replicas[number].wait()

    def invite(self, uses: int) -> Invite:
        """An invite."""
        return Invite.parse(self.run("invite", "--uses", str(uses), "--requests", "100000"))

    def open(self, task: Task) -> None:
        """Open a task whose releases are used at once."""
        with unittest.mock.patch.dict(os.environ, self._environment):
            asyncio.run(self._open(task))

    async def _open(self, task: Task) -> None:
        async with opened(Home(self._folder)) as service, service.database.transaction() as connection:
            await service.releases.create(connection, task, promotes=True)

    def client(self, address: str = "") -> httpx.AsyncClient:
        """Reaches an address; any replica if there is none, another one each time."""
        context = trusting(self.certificate)
        if address:
            return httpx.AsyncClient(verify=context, base_url=address, timeout=20)
        transport = _AnyOf(
            self.addresses, httpx.AsyncHTTPTransport(verify=context, limits=httpx.Limits(max_connections=None))
        )
        return httpx.AsyncClient(transport=transport, base_url=self.addresses[0], timeout=20)

    async def released(self, task: str, number: int) -> NDArray[np.float64]:
        """The numbers of a release."""
        async with self.client() as http:
            got = (await http.get(f"/v1/tasks/{task}/releases/{number}")).raise_for_status()
            release = decode(msgspec.json.decode(got.content, type=ReleaseInfo).message, Release, 1024)
            got = (await http.get(f"/v1/content/{release.content.hex()}")).raise_for_status()
            return np.frombuffer(got.content, "<f4").astype(np.float64)

    def wait_for(self, address: str, within_s: float = 60) -> None:
        """Until a replica answers."""
        context = trusting(self.certificate)
        until = time.monotonic() + within_s
        while True:
            try:
                assert httpx.get(f"{address}/v1/health", verify=context).status_code == 204
            except httpx.TransportError:
                assert time.monotonic() < until, "the orchestrator doesn't answer"
                time.sleep(0.1)
            else:
                return

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            self._command(*arguments),
            env=self._environment,
            stdout=self._log,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
        )

    def _command(self, *arguments: str) -> list[str]:
        return [
            sys.executable,
            "-W",
            "error",
            "-m",
            "orchestrator.command",
            "--folder",
            str(self._folder),
            *arguments,
        ]


class _Fork:
    """The command in a process of its own, which didn't have to load the code."""

    def __init__(self, arguments: list[str], environment: dict[str, str], log: str) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.orchestrator.replicas", "orchestrator.commands.serve"])
        self._process = context.Process(target=_run, args=(arguments, environment, log), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid
        return self._process.pid

    def send_signal(self, how: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, how)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self) -> int:
        self._process.join()
        return self._process.exitcode or 0


def _run(arguments: list[str], environment: dict[str, str], log: str) -> None:
    os.environ.update(environment)
    told = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(told, stream)
    sys.exit(main(arguments))


class _AnyOf(httpx.AsyncBaseTransport):
    """Sends each request to one of some addresses."""

    def __init__(self, addresses: list[str], transport: httpx.AsyncBaseTransport) -> None:
        self._urls = [httpx.URL(address) for address in addresses]
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it."""
        url = random.choice(self._urls)
        request.url = request.url.copy_with(host=url.host, port=url.port)
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


def trusting(certificate: Path) -> ssl.SSLContext:
    """What believes one certificate."""
    return ssl.create_default_context(cafile=str(certificate))


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
