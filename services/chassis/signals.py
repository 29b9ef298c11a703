"""Signals by name or number, as Docker takes them (signal(7))."""

from __future__ import annotations

import signal
from typing import Final

from chassis.errors import InvalidArgument

_REALTIME_MIN: Final = 34
_REALTIME_MAX: Final = 64
_NAMES: Final = {
    **{item.name.removeprefix("SIG"): int(item) for item in signal.Signals if item.name[3:5] != "RT"},
    "RTMIN": _REALTIME_MIN, "RTMAX": _REALTIME_MAX,
    **{f"RTMIN+{offset}": _REALTIME_MIN + offset for offset in range(1, 16)},
    **{f"RTMAX-{offset}": _REALTIME_MAX - offset for offset in range(1, 15)},
}


def parse(text: str, default: int, field: str) -> int:
    """"TERM", "SIGTERM", "15" → 15; "" → ``default``. InvalidArgument (BAD_SIGNAL) for what is no signal."""
    if not text:
        return default
    if text.isascii() and text.isdigit() and 1 <= int(text) <= _REALTIME_MAX:
        return int(text)
    number = _NAMES.get(text.upper().removeprefix("SIG"))
    if number is None:
        raise InvalidArgument(f"Invalid signal: {ascii(text[:32])[1:-1]}", reason="BAD_SIGNAL", field=field)
    return number
