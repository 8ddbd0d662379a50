"""No other module of the device can reach the network: every source file is read, and whatever could is named."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEVICE = ("agent", "cli", "federation", "fl_client", "skills", "tui", "vault")
DOOR = "vault/egress/"
UNIX_ONLY = "vault/holder/"
"""Our own processes speak over Unix sockets here, and over nothing else."""

CLIENTS = frozenset(
    """
    _socket _ssl aiohttp anyio asyncore asyncssh boto3 botocore ftplib grpc h11 h2 http.client http.server httpcore
    httpx httpx2 huggingface_hub imaplib logging.handlers multiprocessing.connection multiprocessing.managers
    nntplib paramiko poplib pycurl requests smtplib socket socketserver ssl telnetlib tornado trio twisted
    urllib.request urllib3 websocket websockets wsproto xmlrpc zmq
    """.split()  # noqa: SIM905  a paragraph is easier to read than fifty lines
)
"""Modules that are network clients, or that make sockets."""

MAKERS = frozenset(
    """
    create_connection create_datagram_endpoint create_server create_unix_connection create_unix_server getaddrinfo
    gethostbyname open_connection open_unix_connection sock_connect start_server start_tls start_unix_server
    wrap_bio wrap_socket
    """.split()  # noqa: SIM905
)
"""Whatever they belong to, these make a connection, a server, or a question to a name server."""

EXCEPTIONS = {
    "skills/sandbox/seccomp.py": {"socket"},  # proves that no socket can be made
    "vault/pinning.py": {"ssl"},  # checks certificates; connects to nothing
    "vault/tls.py": {"ssl"},  # makes the settings that the door uses
}


def modules(tree: ast.AST) -> Iterator[str]:
    """What a file imports, by name or by a name in a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__", "find_spec"):
            yield from (a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str))


def clients(tree: ast.AST) -> set[str]:
    """The network modules that a file imports, and the makers of connections that it names."""
    found = {
        client for name in modules(tree) for client in CLIENTS if name == client or name.startswith(f"{client}.")
    }
    found |= {name.rpartition(".")[2] for name in modules(tree)} & MAKERS
    return found | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & MAKERS


def other_than_unix(tree: ast.AST) -> set[str]:
    """What a file does with sockets that isn't a Unix socket."""
    found = {name for name in modules(tree) if name.startswith("socket.")}  # so that every use says `socket.`
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith(("AF_", "PF_")) and node.attr != "AF_UNIX":
            found.add(node.attr)
        elif isinstance(node, ast.Call) and _called(node) in ("socket", "fromfd", "SocketType"):
            family = node.args[1 if _called(node) == "fromfd" else 0 :][:1]
            if not (family and isinstance(family[0], ast.Attribute) and family[0].attr == "AF_UNIX"):
                found.add("a socket of another family")
    return found


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def sources() -> Iterator[tuple[str, ast.AST]]:
    for folder in DEVICE:
        for path in (ROOT / folder).rglob("*.py"):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_no_other_module_of_the_device_can_reach_the_network() -> None:
    offenders = {
        name: found
        for name, tree in sources()
        if not name.startswith((DOOR, UNIX_ONLY)) and (found := clients(tree) - EXCEPTIONS.get(name, set()))
    }
    assert offenders == {}


def test_the_client_itself_is_made_in_one_file() -> None:
    assert [name for name, tree in sources() if "httpx" in clients(tree)] == [
        f"{DOOR}{name}.py" for name in ("client", "crossing", "door")
    ]
    makers = {name for name, tree in sources() for node in ast.walk(tree) if _makes_a_client(node)}
    assert makers == {f"{DOOR}client.py"}


def _makes_a_client(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and _called(node) in ("AsyncClient", "Client", "AsyncHTTPTransport")


def test_our_own_processes_speak_over_unix_sockets_alone() -> None:
    assert {
        name: found
        for name, tree in sources()
        if name.startswith(UNIX_ONLY)
        and (found := other_than_unix(tree) | (clients(tree) - {"socket"} - {n for n in MAKERS if "unix" in n}))
    } == {}


def test_what_proves_that_no_socket_can_be_made_connects_none() -> None:
    (tree,) = (tree for name, tree in sources() if name == "skills/sandbox/seccomp.py")
    uses = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "socket"
    }
    assert uses == {"AF_INET", "SOCK_DGRAM", "socket"}
    assert not any(
        isinstance(node, ast.Attribute) and node.attr in ("connect", "send", "sendto") for node in ast.walk(tree)
    )


@pytest.mark.parametrize(
    "code",
    [
        "import httpx",
        "import http.client as innocent",
        "from urllib import request",
        "from urllib.request import urlopen",
        "if True:\n    def f():\n        import socket",
        "import importlib\nimportlib.import_module('requests')",
        "__import__('ssl')",
        "import asyncio\nasyncio.open_connection('example.org', 80)",
        "from asyncio import open_connection",
        "loop.create_connection(f, 'example.org', 80)",
        "import multiprocessing.connection",
        "from websockets.sync.client import connect",
    ],
)
def test_the_reader_finds_a_client_however_it_is_written(code: str) -> None:
    assert clients(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "import socket\nsocket.socket()",
        "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_STREAM)",
        "import socket\nsocket.socket(socket.AF_VSOCK)",
        "import socket\nsocket.socket(family)",
        "from socket import socket, AF_UNIX\nsocket(AF_UNIX)",
        "import socket\nsocket.fromfd(3, socket.AF_INET, socket.SOCK_STREAM)",
    ],
)
def test_the_reader_finds_a_socket_that_is_not_a_unix_one(code: str) -> None:
    assert other_than_unix(ast.parse(code))


def test_the_reader_lets_unix_sockets_pass() -> None:
    code = "import socket\nsocket.socket(socket.AF_UNIX, socket.SOCK_STREAM)\nsocket.socketpair()"
    assert not other_than_unix(ast.parse(code))
