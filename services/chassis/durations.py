"""Go's durations, as Docker's API and Dockerfiles write them: "1h30m", "500ms", "1.5s"."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_UNITS: Final = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_LONGEST: Final = 1 << 63
"""Nanoseconds that Go's 64 bits cannot hold."""


def nanoseconds(text: str) -> int:
    """ValueError for what is no duration, has a sign, or is longer than Go's longest (292 years)."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text[:80]!r} is not a duration")
    found = 0
    for number, unit in parts:
        part = Decimal(number) * _UNITS[unit]
        if part >= _LONGEST or found + int(part) >= _LONGEST:
            raise ValueError(f"{text[:80]!r} is too long a duration")
        found += int(part)
    return found
