"""An interpreter of the classic BPF that seccomp takes, as far as libseccomp makes use of it.

It answers for any architecture, also for those whose entry this kernel lacks. Source: seccomp(2), <linux/bpf_common.h>.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

X86_64, I386, AARCH64, ARM = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028


def verdict(program: bytes, audit: int, number: int, args: Sequence[int] = ()) -> int:
    """The action, a SECCOMP_RET_* with its data, for one call with up to six arguments."""
    words = [*args, *[0] * (6 - len(args))]
    data = struct.pack("=iIQ6Q", number - (1 << 32) if number >= 1 << 31 else number, audit, 0, *words)
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator = position = 0
    while True:
        operation, true, false, constant = code[position]
        position += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, constant)
            case 0x54:
                accumulator &= constant
            case 0x05:
                position += constant
            case 0x15:
                position += true if accumulator == constant else false
            case 0x25:
                position += true if accumulator > constant else false
            case 0x35:
                position += true if accumulator >= constant else false
            case 0x45:
                position += true if accumulator & constant else false
            case 0x06:
                return int(constant)
            case _:
                raise AssertionError(f"instruction {operation:#x} at {position - 1}")
