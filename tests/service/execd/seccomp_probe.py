"""Asks the seccomp filters over this process for their verdict on every system call, and makes none of the calls.

A further filter sends each probing call (told by a mark in its sixth argument) to a listener, which answers it with an
errno of its own: so that errno means "the other filters let it pass", and any other came from them, since ERRNO
outranks USER_NOTIF. Needs the standard library only, so that it runs in a container whose /usr is the host's.

    seccomp_probe.py [FILTER]      FILTER: a file of struct sock_filter[] to load first
Prints JSON: {"mode": "Seccomp:" of /proc/self/status, "verdicts": {"native": {verdict: "0-12,14"}, "native socket":
…}}: for an ABI the numbers are system calls, for an ABI and a call they are values of its first argument.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import select
import struct
import sys
from collections.abc import Callable, Sequence

MARK = 0x5EC0
PASSED = 3000
X32_BIT = 0x40000000
NUMBERS = (*range(548), 1000, 4095, 0xFFFF)
ALLOW, ERRNO, USER_NOTIF = 0x7FFF0000, 0x00050000, 0x7FC00000
NOTIF_RECV = 3 << 30 | 80 << 16 | ord("!") << 8 | 0
NOTIF_SEND = 3 << 30 | 24 << 16 | ord("!") << 8 | 1
X86 = platform.machine() == "x86_64"
# seccomp, socket, personality, clone, clone3
CALLS = (317, 41, 135, 56, 435) if X86 else (277, 198, 92, 220, 435)
CALLS_I386 = (354, 359, 136, 120, 435)

libc = ctypes.CDLL(None, use_errno=True)


def load(program: bytes, flags: int) -> int:
    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    if libc.prctl(38, ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")
    argument = Program(len(program) // 8, program)
    result = libc.syscall(ctypes.c_long(CALLS[0]), ctypes.c_uint(1), ctypes.c_uint(flags), ctypes.byref(argument))
    if result < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return int(result)


def listener() -> int:
    instructions = [
        (0x20, 0, 0, 16 + 8 * 5 + (0 if sys.byteorder == "little" else 4)), (0x15, 0, 1, MARK),
        (0x06, 0, 0, USER_NOTIF), (0x06, 0, 0, ALLOW),
    ]
    return load(b"".join(struct.pack("=HBBI", *i) for i in instructions), 1 << 3)


def native(number: int, first: int = 0, second: int = 0) -> int:
    ctypes.set_errno(0)
    words = [ctypes.c_ulong(word) for word in (first, second, 0, 0, 0, MARK)]
    libc.syscall(ctypes.c_long(number), *words)
    return ctypes.get_errno()


def x32(number: int, first: int = 0, second: int = 0) -> int:
    return native(number | X32_BIT, first, second)


def make_i386() -> Callable[..., int]:
    # f(edi number, esi first, edx second, ecx sixth): the 32-bit entry, int 0x80, from a 64-bit process.
    code = bytes.fromhex("53 55 89f8 89f3 89cd 89d1 31d2 31f6 31ff cd80 5d 5b c3")
    area = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    area.write(code)
    words = (ctypes.c_uint,) * 4
    function = ctypes.CFUNCTYPE(ctypes.c_int, *words)(ctypes.addressof(ctypes.c_char.from_buffer(area)))

    def call(number: int, first: int = 0, second: int = 0) -> int:
        return -int(function(number, first, second, MARK))

    return call


Probe = tuple[Callable[..., int], tuple[int, ...]]


def supervise(fd: int, child: int) -> None:
    """Answers the listener until the last process under the filter but this one is gone."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    pidfd = os.pidfd_open(child)
    poller.register(pidfd, select.POLLIN)
    while True:
        ready = dict(poller.poll())
        if ready.get(fd, 0) & select.POLLIN:
            notice = bytearray(80)
            try:
                fcntl.ioctl(fd, NOTIF_RECV, notice)
                (number,) = struct.unpack_from("=Q", notice)
                fcntl.ioctl(fd, NOTIF_SEND, bytearray(struct.pack("=QqiI", number, 0, -PASSED, 0)))
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise
        elif pidfd in ready:
            os.close(pidfd)
            return


def verdicts(fd: int, probes: Sequence[Probe]) -> list[str]:
    """One verdict for each probe; a probe that kills its process gets the signal, and a new process goes on."""
    results: list[str] = []
    while len(results) < len(probes):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            for function, args in probes[len(results):]:
                os.write(write, struct.pack("=i", function(*args)))
            os._exit(0)
        os.close(write)
        supervise(fd, child)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with os.fdopen(read, "rb") as stream:
            for (value,) in struct.iter_unpack("=i", stream.read()):
                results.append("allow" if value == PASSED else f"errno {value}")
        if status < 0:
            results.append(f"signal {-status}")
        elif status:
            raise RuntimeError(f"the probing process ended with {status}")
    return results


def ranges(numbers: Sequence[int]) -> str:
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans)


Section = tuple[Callable[..., int], Callable[[int], tuple[int, ...]], Sequence[int]]


def sections(abi: str, call: Callable[..., int], calls: Sequence[int], wide: bool) -> dict[str, Section]:
    """What to ask, under the name that it has in the output: the call, its arguments from a number, the numbers."""
    _, socket, personality, clone, clone3 = calls
    high = (2**32 + 38, 2**32 + 40, 2**63 + 38, 2**64 - 1) if wide else (2**32 - 1,)
    personalities = (0, 1, 8, 9, 0x20000, 0x20008, 0x40000, 0x80000, 2**32 - 1, *((2**64 - 1,) if wide else ()))
    flags = sorted({0, 17, 0x3D0F00, 0x7E020000, *(1 << bit for bit in range(32))})
    return {
        abi: (call, lambda number: (number,), NUMBERS),
        f"{abi} socket": (call, lambda family: (socket, family), (*range(50), *high)),
        f"{abi} personality": (call, lambda value: (personality, value), personalities),
        f"{abi} clone": (call, lambda value: (clone, value), flags),
        f"{abi} clone3": (call, lambda value: (clone3, value), (0,)),
    }


def mode() -> int:
    with open("/proc/self/status", encoding="ascii") as stream:
        return next(int(line.split()[1]) for line in stream if line.startswith("Seccomp:"))


def main() -> None:
    if len(sys.argv) > 1:
        with open(sys.argv[1], "rb") as stream:
            load(stream.read(), 0)
    began = mode()
    fd = listener()
    asked = sections("native", native, CALLS, True)
    if X86:
        i386 = make_i386()
        asked |= sections("x32", x32, CALLS, True)
        # The kernel may lack the 32-bit entry: getpid (20) then dies of SIGSEGV.
        if verdicts(fd, [(i386, (20,))]) != ["signal 11"]:
            asked |= sections("i386", i386, CALLS_I386, False)
    out: dict[str, dict[str, str]] = {}
    for name, (call, arguments, numbers) in asked.items():
        found: dict[str, list[int]] = {}
        for number, verdict in zip(numbers, verdicts(fd, [(call, arguments(n)) for n in numbers]), strict=True):
            found.setdefault(verdict, []).append(number)
        out[name] = {verdict: ranges(group) for verdict, group in sorted(found.items())}
    json.dump({"mode": began, "verdicts": out}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
