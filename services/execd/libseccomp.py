"""libseccomp through ctypes: named system calls and comparisons in, a classic BPF program out.

The library is used as a compiler only; nothing here loads a filter into this process. It is the C library that crun
and runc use themselves, so that both ways to a filter (its BPF handed over, or the rules) mean the same.
Source: seccomp_rule_add(3), seccomp_export_bpf(3), <linux/seccomp.h>, <linux/audit.h>.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chassis.errors import Internal, InvalidArgument

# Actions; the low 16 bits carry the errno of ERRNO and the message of TRACE.
KILL_THREAD: Final = 0x00000000
KILL_PROCESS: Final = 0x80000000
TRAP: Final = 0x00030000
ERRNO: Final = 0x00050000
TRACE: Final = 0x7FF00000
LOG: Final = 0x7FFC0000
ALLOW: Final = 0x7FFF0000
ACTION_MASK: Final = 0xFFFF0000

COMPARE: Final[Mapping[str, int]] = {
    "SCMP_CMP_NE": 1, "SCMP_CMP_LT": 2, "SCMP_CMP_LE": 3, "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5, "SCMP_CMP_GT": 6, "SCMP_CMP_MASKED_EQ": 7,
}

X32_BIT: Final = 0x40000000
_ARM_PRIVATE: Final = 0x000F0000
_X86_64: Final = 0xC000003E


@dataclass(frozen=True)
class _Abi:
    token: int
    audit: int
    ranges: tuple[int, ...]
    """First numbers of the ABI's ranges of system call numbers within its audit architecture, rising."""


# x32 shares x86-64's audit architecture and is told apart by a bit of the number; libseccomp gives it a token of its
# own. 32-bit ARM keeps a few private calls far above the common ones, which are not newer than anything.
ABIS: Final[Mapping[str, _Abi]] = {
    "SCMP_ARCH_X86_64": _Abi(_X86_64, _X86_64, (0,)),
    "SCMP_ARCH_X86": _Abi(0x40000003, 0x40000003, (0,)),
    "SCMP_ARCH_X32": _Abi(0x4000003E, _X86_64, (X32_BIT,)),
    "SCMP_ARCH_AARCH64": _Abi(0xC00000B7, 0xC00000B7, (0,)),
    "SCMP_ARCH_ARM": _Abi(0x40000028, 0x40000028, (0, _ARM_PRIVATE)),
}
"""The architectures that Pier can filter, by their OCI names."""

_RESOLVE_ERROR: Final = -1
_ATTRIBUTE_OPTIMIZE: Final = 8
_OPTIMIZE_BINARY_TREE: Final = 2
_MOST_INSTRUCTIONS: Final = 4096

# <linux/bpf_common.h>
_LOAD: Final = 0x20
_JUMP: Final = 0x05
_JUMP_EQUAL: Final = 0x15
_JUMP_GREATER: Final = 0x25
_JUMP_GREATER_EQUAL: Final = 0x35
_RETURN: Final = 0x06
_OFFSET_NUMBER: Final = 0
_OFFSET_ARCHITECTURE: Final = 4


@dataclass(frozen=True)
class Comparison:
    """One argument compared, as all 64 bits of it: ``(argument[index] & mask) op value``; the mask is all ones but for
    MASKED_EQ, where ``value`` is the mask and ``value_two`` what must come out."""

    index: int
    op: str
    value: int
    value_two: int = 0


@dataclass(frozen=True)
class Call:
    """One rule for one system call: the action where all comparisons hold."""

    name: str
    action: int
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True)
class Filter:
    """A compiled filter. ``bpf`` is an array of struct sock_filter (8 bytes each) in this machine's byte order;
    ``skipped`` are the names that this libseccomp does not know, in the rules' order."""

    bpf: bytes
    skipped: tuple[str, ...]


class _Compare(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint), ("op", ctypes.c_int), ("datum_a", ctypes.c_uint64), ("datum_b", ctypes.c_uint64),
    )


@functools.cache
def _library() -> Any:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        raise Internal(f"libseccomp: {error}", reason="NO_LIBSECCOMP", expected="libseccomp.so.2") from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = (ctypes.c_uint32,)
    library.seccomp_release.restype = None
    library.seccomp_release.argtypes = (ctypes.c_void_p,)
    library.seccomp_arch_native.restype = ctypes.c_uint32
    library.seccomp_arch_native.argtypes = ()
    for name in ("seccomp_arch_add", "seccomp_arch_remove"):
        getattr(library, name).argtypes = (ctypes.c_void_p, ctypes.c_uint32)
    library.seccomp_attr_set.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32)
    library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_syscall_resolve_name_arch.argtypes = (ctypes.c_uint32, ctypes.c_char_p)
    library.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Compare),
    )
    library.seccomp_export_bpf.argtypes = (ctypes.c_void_p, ctypes.c_int)
    return library


def build(architectures: Sequence[str], default: int, calls: Iterable[Call]) -> Filter:
    """The program for ``architectures`` (keys of ABIS) that does each call's action and ``default`` for all others.

    Calls whose action is ``default`` add nothing. A name unknown to the library is skipped and listed. A number above
    every one that the calls name is newer than the profile's author: it gets ENOSYS, which makes a program fall back,
    where EPERM would make it fail (as runc does). Not so where ``default`` lets calls pass. Raises InvalidArgument
    where the library refuses a rule or the program is longer than the kernel takes.
    """
    calls = tuple(calls)
    library = _library()
    context = library.seccomp_init(default)
    if not context:
        raise InvalidArgument(
            f"seccomp: default action {default:#x} is refused by libseccomp", reason="BAD_SECCOMP_PROFILE",
            field="defaultAction",
        )
    try:
        _set_architectures(library, context, [ABIS[name].token for name in architectures])
        # Sorted binary search over the numbers; a library older than 2.5 keeps its linear order.
        library.seccomp_attr_set(context, _ATTRIBUTE_OPTIMIZE, _OPTIMIZE_BINARY_TREE)
        skipped = [call.name for call in calls if not _add(library, context, call, default)]
        program = _export(library, context)
    finally:
        library.seccomp_release(context)
    if default & ACTION_MASK not in (ALLOW, LOG, TRACE):
        program = _newer_is_unknown(library, architectures, {call.name for call in calls}) + program
    if len(program) // 8 > _MOST_INSTRUCTIONS:
        raise InvalidArgument(
            f"seccomp: {len(program) // 8} BPF instructions", reason="BAD_SECCOMP_PROFILE", field="syscalls",
            expected=f"at most {_MOST_INSTRUCTIONS}",
        )
    return Filter(bpf=program, skipped=tuple(dict.fromkeys(skipped)))


def _check(result: int, what: str) -> None:
    if result < 0:
        raise InvalidArgument(
            f"seccomp: {what}: {os.strerror(-result)}", reason="BAD_SECCOMP_PROFILE", field="syscalls"
        )


def _set_architectures(library: Any, context: int, tokens: Sequence[int]) -> None:
    for token in tokens:
        added = library.seccomp_arch_add(context, token)
        if added != -errno.EEXIST:
            _check(added, f"architecture {token:#x}")
    native = library.seccomp_arch_native()
    if native not in tokens:
        _check(library.seccomp_arch_remove(context, native), "native architecture")


def _add(library: Any, context: int, call: Call, default: int) -> bool:
    number = library.seccomp_syscall_resolve_name(call.name.encode())
    if number == _RESOLVE_ERROR:
        return False
    if call.action == default:
        return True
    array = (_Compare * len(call.comparisons))(
        *(_Compare(c.index, COMPARE[c.op], c.value, c.value_two) for c in call.comparisons)
    )
    _check(library.seccomp_rule_add_array(context, call.action, number, len(call.comparisons), array), call.name)
    return True


def _export(library: Any, context: int) -> bytes:
    fd = os.memfd_create("seccomp")
    try:
        _check(library.seccomp_export_bpf(context, fd), "export")
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)


def _newer_is_unknown(library: Any, architectures: Sequence[str], names: set[str]) -> bytes:
    """Instructions to stand before the program: ENOSYS for numbers above the highest of ``names``, per ABI."""
    highest: dict[int, list[tuple[int, int]]] = {}
    for architecture in architectures:
        abi = ABIS[architecture]
        numbers = [library.seccomp_syscall_resolve_name_arch(abi.token, name.encode()) for name in names]
        first = abi.ranges[0]
        end = abi.ranges[1] if len(abi.ranges) > 1 else 1 << 31
        known = [number for number in numbers if first <= number < end]
        if known:
            highest.setdefault(abi.audit, []).append((first, max(known)))
            highest[abi.audit] += [(other, 0xFFFFFFFF) for other in abi.ranges[1:]]
    # Where x32 is not filtered, its numbers are left to libseccomp, which answers them as a bad architecture.
    if _X86_64 in highest and all(first != X32_BIT for first, _ in highest[_X86_64]):
        highest[_X86_64].append((X32_BIT, 0xFFFFFFFF))
    return _prologue(highest)


def _prologue(highest: Mapping[int, Sequence[tuple[int, int]]]) -> bytes:
    length = 1 + sum(2 + 4 * len(ranges) for ranges in highest.values())
    code: list[tuple[int, int, int, int]] = [(_LOAD, 0, 0, _OFFSET_ARCHITECTURE)]
    for audit, ranges in highest.items():
        code.append((_JUMP_EQUAL, 0, 1 + 4 * len(ranges), audit))
        code.append((_LOAD, 0, 0, _OFFSET_NUMBER))
        for first, last in sorted(ranges, reverse=True):
            code.append((_JUMP_GREATER_EQUAL, 0, 3, first))
            code.append((_JUMP_GREATER, 0, 1, last))
            code.append((_RETURN, 0, 0, ERRNO | errno.ENOSYS))
            code.append((_JUMP, 0, 0, length - len(code) - 1))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code) if highest else b""
