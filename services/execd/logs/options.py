"""A log driver's options, judged when a container is created. The names and words are Docker's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chassis.errors import InvalidArgument, Unimplemented
from chassis.switches import switch
from execd.logs import fluentd, journald, syslog, tag
from pier.exec.v1 import exec_pb2

_FILE: Final = frozenset({"max-size", "max-file", "compress"})
_KEPT: Final = frozenset({"cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"})
_EVERY: Final = frozenset({"mode", "max-buffer-size"})
OF_DRIVER: Final[Mapping[str, frozenset[str]]] = {
    "json-file": _FILE | tag.ATTRIBUTE_OPTIONS | _EVERY,
    "local": _FILE | _EVERY,
    "none": frozenset(),
    "syslog": syslog.OPTIONS | tag.ATTRIBUTE_OPTIONS | _KEPT | _EVERY,
    "fluentd": fluentd.OPTIONS | tag.ATTRIBUTE_OPTIONS | _KEPT | _EVERY,
    "journald": tag.ATTRIBUTE_OPTIONS | _KEPT | _EVERY,
}
"""Every driver, and what it can be told."""
SENDING: Final = frozenset({"syslog", "fluentd", "journald"})
_CHECKS: Final[Mapping[str, Callable[[Mapping[str, str]], object]]] = {
    "syslog": syslog.settings, "fluentd": fluentd.settings,
}
_SIZE: Final = re.compile(r"(\d{1,15})([bkmg]?)b?", re.IGNORECASE)
_UNITS: Final = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_BUFFER: Final = 1 << 20


@dataclass(frozen=True)
class Kept:
    """What of a log is kept here. ``max_bytes`` of one file, 0 for no limit; ``behind`` bytes are the most that a
    destination may lag behind before the oldest is given up, None for as much as is kept."""

    driver: str
    max_bytes: int
    max_files: int
    compress: bool
    readable: bool
    behind: int | None

    @property
    def is_sent(self) -> bool:
        return self.driver in SENDING


def judge(log: exec_pb2.LogSpec) -> Kept:
    """What ``log`` asks for. Unimplemented (LOG_DRIVER), InvalidArgument (BAD_LOG_OPTION)."""
    driver, options = log.driver or "json-file", log.options
    if driver not in OF_DRIVER:
        raise Unimplemented(f"logging driver {ascii(driver)[1:-1]} is not built", reason="LOG_DRIVER",
                            field="spec.log.driver", expected=", ".join(OF_DRIVER))
    for name in options:
        if name not in OF_DRIVER[driver]:
            raise bad(f"unknown log opt '{ascii(name)[1:-1]}' for {driver} log driver",
                      ", ".join(sorted(OF_DRIVER[driver])) or "none")
    tag.check(options)
    if driver in _CHECKS:
        _CHECKS[driver](options)
    prefix = "cache-" if driver in SENDING else ""
    bytes_, files = ("20m", "5") if driver in ("local", *SENDING) else ("10m", "3")
    most = _max_size(options.get(f"{prefix}max-size", bytes_), f"{prefix}max-size")
    count = _max_files(options.get(f"{prefix}max-file", files), f"{prefix}max-file")
    return Kept(
        driver, most, count, _compress(options, f"{prefix}compress", driver, most, count),
        driver != "none" and not flag(options, "cache-disabled", False), _behind(options),
    )


def check_host(log: exec_pb2.LogSpec, journal: Path) -> None:
    """InvalidArgument (NO_JOURNAL, BAD_LOG_OPTION) where this node lacks what the driver needs."""
    if log.driver == "syslog":
        syslog.check_files(syslog.settings(log.options))
    if log.driver == "journald" and not journald.is_there(journal):
        raise InvalidArgument(f"journald is not enabled on this host: {journal} is no socket", reason="NO_JOURNAL",
                              field="spec.log.driver", expected="a host with systemd-journald")


def flag(options: Mapping[str, str], name: str, default: bool) -> bool:
    """A boolean as Go's strconv.ParseBool reads it."""
    text = options.get(name, "")
    if not text:
        return default
    if (meant := switch(text)) is None:
        raise bad(f"{name}: {text[:40]!a} is no boolean", "true or false")
    return meant


def size(text: str, name: str) -> int:
    """Bytes, by docker's units."""
    match = _SIZE.fullmatch(text)
    if not match or not int(match[1]):
        raise bad(f"invalid {name} {text[:40]!a}", '"10m"')
    return int(match[1]) * _UNITS[match[2].lower()]


def bad(message: str, expected: str) -> InvalidArgument:
    """An option that cannot be."""
    return InvalidArgument(message, reason="BAD_LOG_OPTION", field="spec.log.options", expected=expected)


def _max_size(text: str, name: str) -> int:
    return 0 if text == "-1" else size(text, name)


def _max_files(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1000):
        raise bad(f"invalid {name} {text[:40]!a}", "1 to 1000")
    return int(text)


def _compress(options: Mapping[str, str], name: str, driver: str, most: int, count: int) -> bool:
    possible = most > 0 and count > 1
    asked = flag(options, name, driver in ("local", *SENDING) and possible)
    if asked and not possible:
        raise bad(f"{name} cannot be true when max-file is less than 2 or max-size is not set", "max-file=2 or more")
    return asked


def _behind(options: Mapping[str, str]) -> int | None:
    mode = options.get("mode", "")
    if mode not in ("", "blocking", "non-blocking"):
        raise bad(f"logger: logging mode not supported: {mode[:40]}", "blocking or non-blocking")
    if mode != "non-blocking":
        if "max-buffer-size" in options:
            raise bad("logger: max-buffer-size option is only supported with 'mode=non-blocking'", "mode=non-blocking")
        return None
    return size(options["max-buffer-size"], "max-buffer-size") if "max-buffer-size" in options else _BUFFER
