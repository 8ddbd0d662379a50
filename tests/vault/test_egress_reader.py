"""What the reader of `test_egress_alone.py` finds, and what it lets pass."""

import ast
from pathlib import Path

import pytest

from tests.fixtures.ways_out import into_the_door, other_than_unix, ways_out

ROOT = Path(__file__).parents[2]
EXPORTED = frozenset({"AsyncEgress", "Egress", "Request"})
PRIVATE = frozenset({"_client", "_clients", "_door"})


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
    assert ways_out(ast.parse(code))


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
    "code",
    [
        "from vault.holder.client import socket",
        "import vault.holder.peer\nvault.holder.peer.socket.socket()",
        "import vault.holder.peer\nh = vault.holder.peer\nh.socket.socket()",
        "import importlib\nimportlib.import_module('vault.holder.peer').socket.socket()",
        "from vault.holder import peer\ngetattr(peer, 'socket')",
        "from vault.pinning import ssl\nssl.get_server_certificate(('example.org', 443))",
        "from vault.holder.launch import subprocess",
        "from vault.holder import launch\nlaunch.subprocess.run(['curl'])",
        "from asyncio.base_events import socket",
        "import asyncio\nasyncio.base_events.socket.socket()",
        "from asyncio import subprocess as innocent",
        "import shutil\nshutil.os.system('curl https://example.org')",
        "from shutil import os as o\no.system('curl https://example.org')",
        "import os\nos.path.os.system('curl https://example.org')",
        "import tempfile\ntempfile._os.system('curl https://example.org')",
        "import logging\nlogging.sys.modules['socket']",
        "import http.cookiejar\nhttp.cookiejar.urllib.request.urlopen('https://example.org')",
        "from shutil import *",
        "from . import peer",
        "from .peer import peer",
    ],
)
def test_the_reader_finds_a_module_that_is_taken_from_another(code: str) -> None:
    assert ways_out(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "import pickle\npickle.loads(b'')",
        "from pickle import loads",
        "import marshal\nmarshal.loads(b'')",
        "import shelve",
        "import pydoc\npydoc.locate('socket')",
        "import timeit\ntimeit.timeit('import socket')",
        "import cProfile\ncProfile.run('import socket')",
        "from concurrent.futures import ProcessPoolExecutor",
        "import concurrent.futures\nconcurrent.futures.ProcessPoolExecutor()",
        "import concurrent.futures as f\nf.process",
        "from concurrent.futures.process import ProcessPoolExecutor",
        "import pip\npip.main(['download', 'x'])",
        "import psutil\npsutil.Popen(['curl'])",
        "from psutil import Popen as innocent",
        "anything.Popen(['curl'])",
        "import jinja2\njinja2.Template('{{ x }}')",
        "from jinja2 import Environment",
        "from jinja2.sandbox import Environment",
        "import jinja2.nativetypes",
        "import code\ncode.interact()",
        "import sys\nsys.path.append('/tmp')",
        "import importlib.machinery\nimportlib.machinery.SourceFileLoader('x', '/tmp/x').load_module()",
        "import importlib\nimportlib._bootstrap._gcd_import('socket')",
        "import importlib\nimportlib.import_module('.client', 'vault.egress')",
        "import importlib\nimportlib.import_module(f'vault.{name}')",
        "import importlib\nimportlib.import_module.__call__(name)",
        "import importlib.util as u\nu.spec_from_file_location('x', '/tmp/x')",
    ],
)
def test_the_reader_finds_what_runs_code_that_it_does_not_see(code: str) -> None:
    assert ways_out(ast.parse(code))


@pytest.mark.parametrize(
    "code", ["getattr(loop, 'create_connection')(f)", "from asyncio import open_connection as f"]
)
def test_the_reader_finds_a_maker_under_another_name(code: str) -> None:
    assert ways_out(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "from vault.egress.client import open_client",
        "from vault.egress import client as c\nc.open_client(settings)",
        "from vault.egress import door",
        "from vault.egress import importlib",
        "from vault.egress import *",
        "from vault.egress.request import Purpose",
        "from vault import egress",
        "import vault.egress",
        "import vault.egress.client as innocent",
        "import vault\nvault.egress.client.open_client(settings)",
        "import importlib\nimportlib.import_module('vault.egress.client')",
        "HOMES = {'open_client': 'vault.egress.client'}",
        "from vault.egress import AsyncEgress\nAsyncEgress._client(door, ())",
        "x._client(())",
        "self._egress._door._clients",
        "getattr(x, '_client')(())",
        "from vault.egress import AsyncEgress\nclass Mine(AsyncEgress):\n    def f(self): return self._client(())",
    ],
)
def test_the_reader_finds_a_hand_inside_the_door(code: str) -> None:
    assert into_the_door(ast.parse(code), EXPORTED, PRIVATE)


def test_the_reader_lets_the_front_of_the_door_pass() -> None:
    code = "from vault.egress import Egress, Request as R\nwith Egress(s, j, l) as e: e.send(r, b'', most=1)"
    assert not into_the_door(ast.parse(code), EXPORTED, PRIVATE)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("vault/tls.py", "ssl.get_server_certificate(('example.org', 443))"),
        ("vault/pinning.py", "ssl.get_server_certificate(('example.org', 443))"),
        ("vault/pinning.py", "ssl.SSLSocket._create(None)"),
        ("vault/pinning.py", "from ssl import socket"),
        ("vault/tls.py", "ssl.socket.socket()"),
        ("vault/tls.py", "ssl.create_connection(('example.org', 443))"),
        ("vault/tls.py", "ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(s)"),
        ("vault/tls.py", "s = ssl\ns.anything"),
        ("vault/holder/peer.py", "socket.create_connection(('example.org', 80))"),
        ("vault/holder/peer.py", "socket.SocketType(2, 1)"),
        ("vault/holder/peer.py", "s = socket\ns.anything"),
    ],
)
def test_whoever_may_use_some_of_a_module_may_not_use_the_rest(name: str, code: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert ways_out(ast.parse(f"{text}\n{code}")) > ways_out(ast.parse(text))


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
        "import jinja2.sandbox\njinja2.sandbox.ImmutableSandboxedEnvironment()",
        "from concurrent.futures import ThreadPoolExecutor",
        "import psutil\npsutil.virtual_memory()",
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
        "import socket\nsocket.socket(2, 1)",
        "import socket\n_f = socket.socket\n_f(2, 1)",
        "import socket\n_f = socket.SocketType",
        "import socket as s\ns.socket(2, 1)",
        "import socket\ngetattr(socket, 'socket')(2, 1)",
        "import socket\nclass S(socket.socket): pass",
        "import socket\nsocket.socket.connect(s, ('example.org', 80))",
    ],
)
def test_the_reader_finds_a_socket_that_is_not_a_unix_one(code: str) -> None:
    assert other_than_unix(ast.parse(code))


def test_the_reader_lets_unix_sockets_pass() -> None:
    code = (
        "import socket\nsocket.socket(socket.AF_UNIX, socket.SOCK_STREAM)\nsocket.socketpair()\n"
        "def f(s: socket.socket) -> list[socket.socket]: ..."
    )
    assert not other_than_unix(ast.parse(code))
