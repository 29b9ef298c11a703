"""One line of a json-file log."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

_STREAMS: Final = {"stdout": 1, "stderr": 2}
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z")


class Record(NamedTuple):
    """``time`` in nanoseconds since 1970; ``stream`` 1 or 2; ``data`` without its newline is a part of a line."""

    time: int
    stream: int
    data: bytes
    attributes: dict[str, str]


def parse(line: bytes) -> Record | None:
    """None for a line that is no record."""
    try:
        found = json.loads(line)
        match = _TIME.fullmatch(found["time"])
        stream = _STREAMS[found["stream"]]
        data = found["log"].encode("utf-8", "surrogateescape")
        attributes = found.get("attrs") or {}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if match is None or not isinstance(attributes, dict):
        return None
    seconds = int(datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp())
    return Record(seconds * 10**9 + int((match[2] or "").ljust(9, "0")), stream, data, attributes)
