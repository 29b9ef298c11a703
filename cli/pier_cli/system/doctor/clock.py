"""The clock: times of events, logs and certificates come from it."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from typing import Final

from pier_cli.system.doctor.check import Check, advice, failure, ok

AREA: Final = "clock"
_EARLIEST: Final = 1_700_000_000
"""November 2023: no Pier is older."""
_UNSYNCHRONISED: Final = 5
"""adjtimex(2): TIME_ERROR."""
_TIMEX_BYTES: Final = 512


def checks() -> Iterator[Check]:
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < _EARLIEST:
        yield failure(AREA, "time", shown, "certificates of registries are not valid yet by this clock: set it, and "
                      "let systemd-timesyncd or chrony keep it")
    else:
        yield ok(AREA, "time", shown)
    state = _state()
    if state == _UNSYNCHRONISED:
        yield advice(AREA, "synchronised", "nobody keeps the clock right", "systemd-timesyncd or chrony does")
    elif state >= 0:
        yield ok(AREA, "synchronised", "yes")


def _state() -> int:
    """What adjtimex(2) says of the clock, -1 where it may not be asked."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)  # larger than struct timex; its first field, modes, is 0
    libc = ctypes.CDLL(None, use_errno=True)
    state = int(libc.adjtimex(buffer))
    return state if state >= 0 or not ctypes.get_errno() else -abs(os.EX_OSERR)
