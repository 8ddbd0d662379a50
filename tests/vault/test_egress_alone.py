"""No other module of the device can reach the network: every source file is read, and whatever could is named.

That goes for clients, and for ways around them: other programs, calls into C, names that don't stand there,
modules taken from other modules, the inner parts of the door. It is a static check against mistakes and careless
changes, not proof against a malicious committer: whoever means to deceive a reader of source text finds a way. Of
the libraries we stand on it reads nothing.

To allow a file something, add it to `ALLOWED`: what `ways_out` calls it (several with commas), and why.
"""

import ast
import functools
import tomllib
from pathlib import Path

import vault.egress
from tests.fixtures.ways_out import DEVICE, into_the_door, other_than_unix, private_names, ways_out

ROOT = Path(__file__).parents[2]
DOOR = "vault/egress/"

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
        "module_from_spec, sys.modules": "loads the binding without its package's own beginning",
    },
    "agent/worker/engine.py": {"ctypes": "hands buffers to llama.cpp"},
    "agent/worker/lora.py": {"ctypes": "hands an adapter to llama.cpp, and reads numbers of it"},
    "agent/worker/sampling.py": {"ctypes": "hands numbers to llama.cpp"},
    "agent/worker/vocabulary.py": {"ctypes": "hands buffers to llama.cpp"},
    "cli/config.py": {"subprocess": "starts the person's editor"},
    "cli/main.py": {"getattr by a computed name, sys handed on": "looks at the three standard streams"},
    "fl_client/limits/choices.py": {"getattr by a computed name": "a setting by its name"},
    "fl_client/limits/local_socket.py": {
        "socket, socket.AF_UNIX, socket.SOCK_STREAM, socket.socket": "asks the desktop and the X server"
    },
    "fl_client/participation/link.py": {"requests from elsewhere": "ours: signs them, sends none"},
    "fl_client/simulation/pool.py": {
        "concurrent.futures.ProcessPoolExecutor, concurrent.futures.ProcessPoolExecutor handed on, "
        "concurrent.futures.process, multiprocessing": "starts processes of ours that go on with what this one has",
    },
    "fl_client/training/program.py": {"find_spec by a computed name": "finds packages' folders, by constants"},
    "skills/bundled/__init__.py": {
        "import_module by a computed name": "a bundled skill's own package, by a constant",
    },
    "skills/sandbox/__init__.py": {"getattr by a computed name": LAZY},
    "skills/sandbox/alone.py": {
        "ctypes": "drops root's rights",
        "compile, exec, execvp, sys.modules, sys.path, vars": "becomes what it confined itself for",
    },
    "skills/sandbox/bpf.py": {"ctypes": "hands a filter to the kernel"},
    "skills/sandbox/bubblewrap.py": {"subprocess": "starts bubblewrap, which confines what it starts"},
    "skills/sandbox/lifeline.py": {"subprocess": "starts the shell that ends a job whose owner was killed"},
    "skills/sandbox/landlock.py": {"ctypes": "asks the kernel to confine this process"},
    "skills/sandbox/landlocked.py": {"subprocess": "starts a process that confines itself first"},
    "skills/sandbox/ending.py": {"subprocess": "the type of what was started"},
    "skills/sandbox/limited.py": {"execve": "becomes sandbox-exec, which confines what it starts"},
    "skills/sandbox/seatbelt.py": {"subprocess": "starts sandbox-exec, which confines what it starts"},
    "skills/sandbox/walls.py": {"subprocess": "the type of what was started"},
    "skills/sandbox/seccomp.py": {
        "socket, socket.AF_INET, socket.SOCK_DGRAM, socket.socket": "proves that no socket can be made",
    },
    "vault/__init__.py": {"getattr by a computed name, import_module by a computed name": LAZY},
    "vault/child.py": {"subprocess": "starts children of ours, which confine themselves"},
    "vault/egress/__init__.py": {"getattr by a computed name, import_module by a computed name": LAZY},
    "vault/egress/client.py": {
        "httpx": "is the client",
        "ssl, ssl.SSLCertVerificationError, ssl.SSLEOFError, ssl.SSLError, ssl.SSLSyscallError, "
        "ssl.SSLZeroReturnError": "tells its errors apart",
    },
    "vault/egress/crossing.py": {"httpx": "its types"},
    "vault/egress/door.py": {"httpx": "its types", "open_client": "holds the client"},
    "vault/holder/__init__.py": {"getattr by a computed name": LAZY},
    "vault/holder/__main__.py": {"socket, socket.AF_UNIX, socket.socket": "answers on this machine"},
    "vault/holder/client.py": {
        "socket, socket.AF_UNIX, socket.SOL_SOCKET, socket.SO_RCVTIMEO, socket.SO_SNDTIMEO, socket.socket": (
            "asks on this machine"
        )
    },
    "vault/holder/launch.py": {"subprocess": "starts the process that holds the key"},
    "vault/holder/peer.py": {
        "socket, socket.SOL_SOCKET, socket.SO_PEERCRED, socket.socket": "asks the kernel who is at the other end"
    },
    "vault/holder/server.py": {"socket, socket.socket": "the type of what it answers at"},
    "vault/keychain.py": {
        "getattr by a computed name, import_module by a computed name": "an accepted keychain, by a constant"
    },
    "vault/log/__init__.py": {"getattr by a computed name": LAZY},
    "vault/memory.py": {"ctypes": "asks the kernel to keep memory out of swap files and core dumps"},
    "vault/pinning.py": {
        "ssl, ssl.CERT_NONE, ssl.SSLContext, ssl.SSLError, ssl.SSLObject, ssl.SSLSocket": (
            "checks certificates in the handshakes of others; connects to nothing"
        )
    },
    "vault/portability/tables.py": {"getattr by a computed name": "a column by its name"},
    "vault/settings.py": {"getattr by a computed name": "a setting by its name"},
    "vault/tls.py": {
        "ssl, ssl.PROTOCOL_TLS_CLIENT, ssl.SSLContext, ssl.SSLError, ssl.TLSVersion.TLSv1_3": (
            "makes the settings that the door uses"
        )
    },
}
"""Who may do what nobody else may, and why. An entry that isn't needed any more is an error."""


@functools.cache
def sources() -> list[tuple[str, ast.AST]]:
    return [
        (path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8")))
        for folder in DEVICE
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]


def test_all_that_we_ship_is_read_but_the_orchestrator() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {*DEVICE, "orchestrator"} == set(shipped)


def test_no_other_module_reaches_the_network_starts_programs_or_hides_what_it_does() -> None:
    found = {name: ways for name, tree in sources() if (ways := ways_out(tree))}
    assert found == {name: set(", ".join(ways).split(", ")) for name, ways in ALLOWED.items()}


def test_the_door_is_used_from_its_front_alone() -> None:
    exported = frozenset(vault.egress.__all__)
    private = frozenset(word for name, tree in sources() if name.startswith(DOOR) for word in private_names(tree))
    assert {"_client", "_clients", "_exchange"} <= private
    assert {
        name: found
        for name, tree in sources()
        if not name.startswith(DOOR) and (found := into_the_door(tree, exported, private))
    } == {}


def test_the_client_itself_is_made_in_one_file() -> None:
    assert [name for name, tree in sources() if "httpx" in _imports_at_run_time(tree)] == [f"{DOOR}client.py"]


def _imports_at_run_time(tree: ast.AST) -> set[str]:
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for statement in block.body
        for node in ast.walk(statement)
    }
    return {
        found
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in for_types
        for found in ways_out(node)
    }


def test_every_socket_is_a_unix_one_but_the_one_that_proves_that_none_can_be_made() -> None:
    assert {
        name: found for name, tree in sources() if not name.startswith(DOOR) and (found := other_than_unix(tree))
    } == {"skills/sandbox/seccomp.py": {"socket.AF_INET", "a socket of another family"}}


def test_what_proves_that_no_socket_can_be_made_connects_none() -> None:
    (tree,) = (tree for name, tree in sources() if name == "skills/sandbox/seccomp.py")
    assert not any(
        isinstance(node, ast.Attribute) and node.attr.startswith(("connect", "send")) for node in ast.walk(tree)
    )
