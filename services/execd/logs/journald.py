"""The journald driver: the journal's native protocol, in datagrams of Docker's fields.

Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
"""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from execd.logs.destination import Address, Datagrams
from execd.logs.record import Record

_PRIORITY: Final = {1: b"6", 2: b"3"}
_OF_A_RECORD: Final = frozenset({"MESSAGE", "PRIORITY", "SYSLOG_TIMESTAMP", "CONTAINER_PARTIAL_MESSAGE"})
_NAME: Final = re.compile(r"[^A-Z0-9_]")


def is_there(journal: Path) -> bool:
    """Whether a journal may listen on the socket ``journal``."""
    try:
        return stat.S_ISSOCK(journal.stat().st_mode)
    except OSError:
        return False


def field(name: str, value: bytes) -> bytes:
    """One field; a value with a newline has its length before it."""
    if b"\n" not in value:
        return name.encode() + b"=" + value + b"\n"
    return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"


def field_name(text: str) -> str:
    """A label's or variable's name as the journal takes it: capitals, digits, no leading underscore."""
    return _NAME.sub("_", text.upper()).lstrip("_")[:64]


def facts(
    container_id: str, name: str, image: str, tag: str, attributes: Mapping[str, str]
) -> bytes:
    """The fields that every record carries."""
    known = {
        "CONTAINER_ID": container_id[:12], "CONTAINER_ID_FULL": container_id, "CONTAINER_NAME": name,
        "CONTAINER_TAG": tag, "IMAGE_NAME": image, "SYSLOG_IDENTIFIER": tag,
    }
    more = {name: value for key, value in attributes.items() if (name := field_name(key)) not in _OF_A_RECORD}
    return b"".join(
        field(key, value.encode("utf-8", "surrogateescape"))
        for key, value in {**more, **known}.items() if key and not key[0].isdigit()
    )


class Journald:
    """The destination. A record fits into a datagram: it is of at most 16 KiB."""

    def __init__(self, journal: Path, facts_: bytes) -> None:
        self._facts = facts_
        self._out = Datagrams(Address("unixgram", path=str(journal)))

    async def open(self) -> None:
        await self._out.open()

    async def send(self, records: Sequence[Record]) -> None:
        for record in records:
            seconds, rest = divmod(record.time, 10**9)
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"
            fields = field("MESSAGE", record.data.removesuffix(b"\n")) + field("PRIORITY", _PRIORITY[record.stream])
            fields += field("SYSLOG_TIMESTAMP", stamp.encode())
            if not record.data.endswith(b"\n"):
                fields += field("CONTAINER_PARTIAL_MESSAGE", b"true")
            await self._out.write(fields + self._facts)

    def close(self) -> None:
        self._out.close()
