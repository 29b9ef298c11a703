"""How values look on Docker's wire: JSON with a newline, times, words for yes and no."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

JSON: Final = "application/json"
ZERO_TIME: Final = "0001-01-01T00:00:00Z"
"""What Go prints for a time that never was."""
_FALSE: Final = frozenset({"", "0", "no", "false", "none"})

_encoder = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """``value`` as JSON, its newline after it."""
    return _encoder.encode(value) + b"\n"


def text(value: bytes) -> str:
    """Bytes for people: what is no UTF-8 becomes U+FFFD, as Go's encoder has it."""
    return value.decode("utf-8", "replace")


def is_true(value: str) -> bool:
    """Docker's reading of a boolean in a query: everything is true but "", 0, no, false and none."""
    return value.strip().lower() not in _FALSE


def rfc3339(value: Timestamp | None, *, fixed: bool = False) -> str:
    """Go's RFC3339Nano in UTC; with ``fixed`` always nine digits. Not given, or 1970 to the second: Go's zero time."""
    if value is None or (value.seconds == 0 and value.nanos == 0):
        return ZERO_TIME
    whole = datetime.fromtimestamp(value.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f"{value.nanos:09d}"
    if not fixed:
        digits = digits.rstrip("0")
    return f"{whole}.{digits}Z" if digits else f"{whole}Z"
