"""Run as a program, before a job's own: the second tier's walls, put up by the process itself (Landlock, seccomp).

It is started without packages (`python -I -S`), reads its orders from a descriptor, gives up its rights, and
becomes the job. Nothing of the job's runs before the walls stand.
"""

import ctypes
import os
import resource
import sys
from types import ModuleType

_PR_CAPBSET_DROP = 24
_LAST_CAPABILITY = 63
_CAPABILITY_VERSION_3 = 0x20080522


def main() -> None:
    """Put up the walls and become the job."""
    with open(int(sys.argv[1]), "rb") as file:
        orders = read_orders(file.read())
    (folder,), (package,) = orders["folder"], orders["package"]
    sys.path.append(package)
    from skills.sandbox import bpf, landlock
    from skills.sandbox.program_filter import program_filter
    from skills.sandbox.syscalls import this_machine

    machine = this_machine()
    os.setsid()  # away from the terminal that we may have been started at
    os.chdir(folder)
    limits = map(int, orders["limits"])
    for what, soft, hard in zip(limits, limits, limits, strict=True):
        resource.setrlimit(what, (soft, hard))
    _drop_capabilities()
    landlock.restrict(orders["readable"], orders["writable"])
    bpf.install(machine, program_filter(machine, forks=False, alone_as=os.getpid()))
    environment = orders["environment"]
    os.environ.clear()
    os.environ.update(zip(environment[::2], environment[1::2], strict=True))
    sys.path.remove(package)
    _become(orders["argv"], int(orders["script"][0]))


def read_orders(data: bytes) -> dict[str, list[str]]:
    """What `skills.sandbox.landlocked` wrote: names, how many words follow, and the words, each ended by a zero."""
    words = iter(os.fsdecode(data).split("\0")[:-1])
    return {name: [next(words) for _ in range(int(next(words)))] for name in words}


def _become(argv: list[str], script: int) -> None:
    """Become the job: a program, or, from the word `script` on, a Python script, in this same interpreter."""
    if not script:
        try:
            os.execvp(argv[0], argv)  # noqa: S606 - there is to be no shell
        except OSError as error:
            sys.exit(f"{argv[0]}: {error.strerror}")
    for name in [name for name in sys.modules if name.partition(".")[0] == "skills"]:
        del sys.modules[name]
    sys.argv = argv[script:]
    sys.path.insert(0, os.path.abspath(os.path.dirname(sys.argv[0])))
    main_module = ModuleType("__main__")
    main_module.__file__ = sys.argv[0]
    sys.modules["__main__"] = main_module
    with open(sys.argv[0], "rb") as file:
        code = compile(file.read(), sys.argv[0], "exec", dont_inherit=True)
    exec(code, vars(main_module))  # noqa: S102 - that is what it was confined for


def _drop_capabilities() -> None:
    """Keep nothing of root's rights, where root started us."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(_LAST_CAPABILITY + 1):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # refused to whoever has none to drop
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "the system keeps us from dropping our rights")


if __name__ == "__main__":
    main()
