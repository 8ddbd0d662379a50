"""Seccomp filters: assembled from what they let through, and set up for good.

A filter is classic BPF over `struct seccomp_data` (Documentation/userspace-api/seccomp_filter.rst). Whatever it
doesn't name answers EPERM, so that a library's optional probe fails softly and an attack fails too.
"""

import ctypes
import errno
import os
import struct

from skills.sandbox.syscalls import Machine, Unsupported

__all__ = [
    "ALLOW",
    "NOT_THERE",
    "NO_ATTRIBUTES",
    "NO_LINK",
    "Instruction",
    "assemble",
    "if_bits",
    "if_exactly",
    "if_one_of",
    "install",
]

Instruction = tuple[int, int, int, int]

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_FILTER_FLAG_TSYNC = 1
_RET_ALLOW, _RET_ERRNO, _RET_KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000

# Load a word of `struct seccomp_data`, compare, mask, return.
_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE, _OFFSET_ARGUMENTS = 0, 4, 16
_X32 = 0x40000000
_DENY: Instruction = (_RETURN, 0, 0, _RET_ERRNO | errno.EPERM)

ALLOW: list[Instruction] = [(_RETURN, 0, 0, _RET_ALLOW)]
"""Let a call through."""
NOT_THERE: list[Instruction] = [(_RETURN, 0, 0, _RET_ERRNO | errno.ENOSYS)]
"""Answer as a kernel that doesn't know the call: libc then uses the one before it."""
NO_ATTRIBUTES: list[Instruction] = [(_RETURN, 0, 0, _RET_ERRNO | errno.EOPNOTSUPP)]
"""Answer as a file system that has no extended attributes."""
NO_LINK: list[Instruction] = [(_RETURN, 0, 0, _RET_ERRNO | errno.EINVAL)]
"""Answer as of a file that is no symbolic link: whoever resolves a path then takes it as it is."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def if_one_of(argument: int, values: tuple[int, ...]) -> list[Instruction]:
    """Let a call through when the low word of an argument has one of these values, else deny it."""
    body: list[Instruction] = [_load(argument)]
    for value in values:
        body += [(_JUMP_EQUAL, 0, 1, value), *ALLOW]
    return [*body, _DENY]


def if_exactly(argument: int, value: int, then: list[Instruction]) -> list[Instruction]:
    """Go on with `then` when the low word of an argument has this value, else deny the call."""
    return [_load(argument), (_JUMP_EQUAL, 1, 0, value), _DENY, *then]


def if_bits(argument: int, mask: int, value: int, then: list[Instruction] = ALLOW) -> list[Instruction]:
    """Go on with `then` when some bits of the low word of an argument have this value, else deny the call."""
    return [_load(argument), (_AND, 0, 0, mask), (_JUMP_EQUAL, 1, 0, value), _DENY, *then]


def assemble(machine: Machine, calls: dict[str, list[Instruction]]) -> bytes:
    """The filter that decides on each named call as said, and denies all others.

    Args:
        machine: The processor it is for.
        calls: What is done about each; each list ends by returning.
    """
    code: list[Instruction] = [
        (_LOAD, 0, 0, _OFFSET_ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, machine.architecture),
        (_RETURN, 0, 0, _RET_KILL_PROCESS),  # a 32-bit call would have other numbers
        (_LOAD, 0, 0, _OFFSET_NUMBER),
        (_JUMP_GREATER_EQUAL, 0, 1, _X32),  # the x32 variants of the same calls
        _DENY,
    ]
    for name, body in calls.items():
        number = machine.number(name)
        if number is not None:
            code.append((_JUMP_EQUAL, 0, len(body), number))
            code += body
    code.append(_DENY)
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def install(machine: Machine, code: bytes) -> None:
    """Set a filter up for this process, all its threads included. It can't be undone.

    Raises:
        Unsupported: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(instructions))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise Unsupported("the kernel refuses no_new_privs")
    result = libc.syscall(
        machine.seccomp, _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC, ctypes.byref(program)
    )
    if result != 0:
        raise Unsupported(f"the kernel refuses a seccomp filter: {os.strerror(ctypes.get_errno())}")


def _load(argument: int) -> Instruction:
    return _LOAD, 0, 0, _OFFSET_ARGUMENTS + 8 * argument
