"""Sets of processors and of memory nodes as cpuset(7) writes them ("0-2,7"), held against those that the host has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

from chassis.errors import InvalidArgument
from pier.exec.v1 import exec_pb2

_LIST: Final = re.compile(r"[0-9]{1,6}(-[0-9]{1,6})?(,[0-9]{1,6}(-[0-9]{1,6})?)*", re.ASCII)


class _Kind(NamedTuple):
    field: str
    shown: str
    things: str
    online: Path


_KINDS: Final = (
    _Kind("cpuset_cpus", "cpuset cpus", "CPUs", Path("/sys/devices/system/cpu/online")),
    _Kind("cpuset_mems", "cpuset mems", "memory nodes", Path("/sys/devices/system/node/online")),
)


def check(resources: exec_pb2.Resources, field: str) -> None:
    """InvalidArgument (OUT_OF_RANGE) for what is no set, or has what this host has not."""
    for kind in _KINDS:
        value = getattr(resources, kind.field)
        if not value:
            continue
        if not _LIST.fullmatch(value):
            raise InvalidArgument(f"Invalid value {value[:80]!a} for {kind.shown}", reason="OUT_OF_RANGE",
                                  field=f"{field}.{kind.field}", expected='"0-2,7"')
        there = online(kind.online)
        if not all(any(low >= first and high <= last for first, last in ranges(there)) for low, high in ranges(value)):
            raise InvalidArgument(
                f"Requested {kind.things} are not available - requested {value[:80]}, available: {there}.",
                reason="OUT_OF_RANGE", field=f"{field}.{kind.field}", expected=f"some of {there}")


def ranges(text: str) -> list[tuple[int, int]]:
    """First and last of each part of a set."""
    parts = (part.partition("-") for part in text.split(","))
    return [(int(low), int(high or low)) for low, _, high in parts]


def online(path: Path) -> str:
    """The set in ``path``; one without nodes has the first."""
    try:
        return path.read_text().strip() or "0"
    except FileNotFoundError:
        return "0"
