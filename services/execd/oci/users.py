"""Users by Docker's grammar, resolved to numbers in the container's own /etc/passwd and /etc/group.

The grammar is ``""``, ``USER`` or ``USER:GROUP``, each a name or a decimal number from 0 to 2³¹−1. Signs, blanks, empty
halves and larger numbers are refused here, so that no runtime ever parses them (CVE-2026-30892, CVE-2024-40635).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from chassis.errors import InvalidArgument

_NUMBER: Final = re.compile(r"[0-9]{1,10}")
_WORD: Final = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@-]{0,63}\$?")
_MAX: Final = 2**31 - 1
_FIELD: Final = "spec.process.user"


@dataclass(frozen=True)
class User:
    """Numbers for the process, its supplementary groups, and its home ("" where no passwd entry tells)."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


@dataclass(frozen=True)
class _Entry:
    name: str
    number: int
    rest: tuple[str, ...]


def check(text: str, field: str = _FIELD) -> tuple[str, str]:
    """(user, group) halves of ``text``, group "" where there is none; InvalidArgument (BAD_USER) otherwise."""
    if not text:
        return "", ""
    user, colon, group = text.partition(":")
    for half in (user, *([group] if colon else [])):
        if not _WORD.fullmatch(half) or (_NUMBER.fullmatch(half) and int(half) > _MAX) or (
            half.isdigit() and not _NUMBER.fullmatch(half)
        ):
            raise InvalidArgument(
                f"{field}: {text[:80]!a} is not USER or USER:GROUP", reason="BAD_USER", field=field,
                expected="names or numbers from 0 to 2147483647",
            )
    return user, group


def resolve(text: str, additional: Iterable[str], passwd: bytes, group: bytes) -> User:
    """The numbers that ``text`` stands for; InvalidArgument (NO_SUCH_USER, NO_SUCH_GROUP) in Docker's words."""
    user_half, group_half = check(text)
    entries = list(_entries(passwd, 4))
    groups = list(_entries(group, 4))
    entry = _find(entries, user_half or "0")
    if entry is None and user_half and not _NUMBER.fullmatch(user_half):
        raise InvalidArgument(
            f"unable to find user {user_half}: no matching entries in passwd file", reason="NO_SUCH_USER", field=_FIELD
        )
    uid = entry.number if entry else int(user_half or "0")
    gid = _number(entry.rest[0]) if entry else 0
    home = entry.rest[2] if entry and len(entry.rest) > 2 else ""
    supplementary: list[int] = []
    if group_half:
        gid = _group(groups, group_half)
    elif entry is not None:
        supplementary = [item.number for item in groups if entry.name in item.rest[0].split(",")]
    supplementary += [_group(groups, name) for name in additional]
    return User(uid, gid, tuple(dict.fromkeys([gid, *supplementary])), home if home.startswith("/") else "")


def _entries(data: bytes, least: int) -> Iterator[_Entry]:
    """Well-formed lines of a passwd or group file (passwd(5), group(5)); others are passed over."""
    for line in data.decode("utf-8", "replace").split("\n"):
        fields = line.strip().split(":")
        if len(fields) >= least and fields[0] and _NUMBER.fullmatch(fields[2]) and int(fields[2]) <= _MAX:
            yield _Entry(fields[0], int(fields[2]), tuple(fields[3:]))


def _find(entries: list[_Entry], half: str) -> _Entry | None:
    """By name, else by number: a name that consists of digits is a name first, as Docker has it."""
    by_name = next((entry for entry in entries if entry.name == half), None)
    if by_name is None and _NUMBER.fullmatch(half):
        return next((entry for entry in entries if entry.number == int(half)), None)
    return by_name


def _group(groups: list[_Entry], half: str) -> int:
    entry = _find(groups, half)
    if entry is not None:
        return entry.number
    if _NUMBER.fullmatch(half) and int(half) <= _MAX:
        return int(half)
    raise InvalidArgument(
        f"unable to find group {ascii(half)[1:-1]}: no matching entries in group file", reason="NO_SUCH_GROUP",
        field=_FIELD,
    )


def _number(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) and int(text) <= _MAX else 0
