"""The Seatbelt profile of one job: what a program on macOS may do, each of it with the reason; all else is denied.

SBPL, the language of `sandbox-exec`, isn't documented by Apple. What is said here of it is taken from the profiles
that macOS carries (/System/Library/Sandbox/Profiles), and from those of WebKit, Chromium and Codex. The last rule
that matches decides. Paths are compared after links were followed, so those that are given have to be real ones.

No text of a job becomes part of the profile: its paths are parameters, which `sandbox-exec -D` takes as they are.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Profile", "profile_of"]

_LIBRARIES = (
    '(subpath "/usr/lib")',
    '(subpath "/System/Library")',
    '(subpath "/System/Cryptexes/OS")',
    '(subpath "/System/Volumes/Preboot/Cryptexes/OS")',
)
"""The system's own: dyld, the cache of its libraries, frameworks. They are the same on every Mac."""
_ALLOWED_UNLESS_DENIED = ("process-info*", "nvram*", "iokit-get-properties", "file-map-executable")
"""What `(deny default)` leaves allowed, as WebKit's profiles note."""
_NEVER = ("network*", "process-fork", "mach-lookup", "ipc-posix*", "iokit-open")
"""Denied by default; said once more at the end, so that no rule before can take it back."""
_ABOUT_THE_MACHINE = (
    *("hw.activecpu", "hw.byteorder", "hw.cacheconfig", "hw.cpufamily", "hw.cputype", "hw.logicalcpu"),
    *("hw.logicalcpu_max", "hw.machine", "hw.memsize", "hw.ncpu", "hw.pagesize", "hw.pagesize_compat"),
    *("hw.physicalcpu", "hw.physicalcpu_max", "kern.argmax", "kern.maxfilesperproc", "kern.osproductversion"),
    *("kern.osrelease", "kern.ostype", "kern.osvariant_status", "kern.osversion", "kern.usrstack64"),
    *("kern.version", "sysctl.proc_cputype"),
)
"""Not `kern.hostname`, nor anything of other processes."""


class Profile(NamedTuple):
    """What `sandbox-exec` is told.

    Attributes:
        text: Of the profile; ASCII.
        parameters: By name, the paths that it speaks of.
    """

    text: str
    parameters: Mapping[str, str]


class _Rule(NamedTuple):
    """One thing that is allowed.

    Attributes:
        why: What for.
        operations: Which.
        filters: Of what; one of them has to match.
    """

    why: str
    operations: str
    filters: tuple[str, ...]


def profile_of(folder: Path, python: Path, programs: Sequence[Path], read_only: Sequence[Path]) -> Profile:
    """The profile of a job.

    Args:
        folder: Holds `in/` and `out/`; a real path, as all of these.
        python: The folder of the interpreter's own files.
        programs: What is executed, the one from within the other.
        read_only: What else may be read.
    """
    executed = {f"PROGRAM_{number}": str(path) for number, path in enumerate(programs)}
    read = {f"READ_{number}": str(path) for number, path in enumerate(read_only)}
    parameters = {"FOLDER": str(folder), "OUT": str(folder / "out"), "PYTHON": str(python), **executed, **read}
    lines = ["(version 1)", "(deny default)"]
    lines += [f"(deny {operation})" for operation in _ALLOWED_UNLESS_DENIED]
    for rule in _rules(list(executed), list(read)):
        lines += [f"; {rule.why}", f"(allow {rule.operations} {' '.join(rule.filters)})"]
    lines += [f"(deny {operation})" for operation in _NEVER]
    return Profile("\n".join(lines) + "\n", parameters)


def _rules(programs: list[str], read_only: list[str]) -> list[_Rule]:
    executed = tuple(f'(literal (param "{name}"))' for name in programs)
    python = '(subpath (param "PYTHON"))'
    rules = [
        _Rule("the program itself, and no other", "process-exec", executed),
        _Rule("what it is, to be loaded", "file-read* file-map-executable", executed),
        _Rule(
            "the loader reads the root's own entry, or aborts; nothing below it", "file-read*", ('(literal "/")',)
        ),
        _Rule("the system's libraries, read and executed", "file-read* file-map-executable", _LIBRARIES),
        _Rule("the interpreter's library and its modules in C", "file-read* file-map-executable", (python,)),
        _Rule(
            "the interpreter looks for its library from its own place upwards; this is no listing of folders",
            "file-read-metadata",
            ('(path-ancestors (param "PYTHON"))', '(path-ancestors (param "FOLDER"))'),
        ),
        _Rule("chance, and nothing", "file-read*", _devices("null", "random", "urandom")),
        _Rule("nothing is written to nothing", "file-write-data", _devices("null")),
        _Rule("what goes in; the names of what comes out", "file-read*", ('(subpath (param "FOLDER"))',)),
        _Rule(
            "what comes out: files that are there already; none is made, removed or renamed",
            "file-write-data",
            ('(require-all (subpath (param "OUT")) (vnode-type REGULAR-FILE))',),
        ),
        _Rule("abort() and raise() signal the process itself", "signal", ("(target self)",)),
        _Rule(
            "how many processors, how large a page; no names of the machine, nothing of other processes",
            "sysctl-read",
            tuple(f'(sysctl-name "{name}")' for name in _ABOUT_THE_MACHINE),
        ),
    ]
    if read_only:
        named = tuple(f'(subpath (param "{name}"))' for name in read_only)
        rules.append(_Rule("what the job was given to read", "file-read*", named))
    return rules


def _devices(*names: str) -> tuple[str, ...]:
    return tuple(f'(literal "/dev/{name}")' for name in names)
