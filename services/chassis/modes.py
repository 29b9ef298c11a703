"""A file's mode as chmod(1) is told it: octal digits, or changes of what there is (``u=rwX,go-w``).

Source: chmod in POSIX, with no umask: what is said of nobody is said of all. ``X`` is ``x`` for directories, and for
files that somebody may execute by then (``=+X`` clears first, as coreutils' chmod does it).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, cast

from chassis.errors import InvalidArgument

_LONGEST: Final = 256
_OCTAL: Final = re.compile(r"0{0,4}[0-7]{1,4}")
_CLAUSE: Final = re.compile(r"([ugoa]*)((?:[+=-](?:[rwxXst]*|[ugo]))+)")
_ACTION: Final = re.compile(r"([+=-])([rwxXstugo]*)")
_WHO: Final = {"u": 0o4700, "g": 0o2070, "o": 0o1007, "a": 0o7777}
_BITS: Final = {"r": 0o444, "w": 0o222, "x": 0o111, "s": 0o6000, "t": 0o1000}
_EXECUTE: Final = 0o111
_SHIFT: Final = {"u": 6, "g": 3, "o": 0}


@dataclass(frozen=True)
class _Action:
    who: int
    operator: Literal["+", "-", "="]
    what: str

    def applied(self, mode: int, is_directory: bool) -> int:
        bits = self._bits(mode, bool(is_directory or mode & _EXECUTE))
        if self.operator == "+":
            return mode | bits
        return mode & ~bits if self.operator == "-" else mode & ~self.who | bits

    def _bits(self, mode: int, executes: bool) -> int:
        if self.what in _SHIFT and self.what:
            same = mode >> _SHIFT[self.what] & 0o7
            return (same << 6 | same << 3 | same) & self.who
        bits = 0
        for letter in self.what:
            bits |= (_EXECUTE if executes else 0) if letter == "X" else _BITS[letter]
        return bits & self.who


@dataclass(frozen=True)
class Change:
    """``octal`` is the mode itself, else ``actions`` follow one another."""

    octal: int | None
    actions: tuple[_Action, ...] = ()

    def applied(self, mode: int, *, is_directory: bool) -> int:
        """Permission bits of a file that has ``mode``."""
        if self.octal is not None:
            return self.octal
        now = mode
        for action in self.actions:
            now = action.applied(now, is_directory)
        return now


def parse(text: str) -> Change:
    """InvalidArgument (BAD_MODE) for what chmod would not take."""
    if _OCTAL.fullmatch(text):
        return Change(int(text, 8))
    actions = list[_Action]()
    for clause in text.split(",") if len(text) <= _LONGEST else [""]:
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            raise InvalidArgument(
                f"invalid chmod parameter: {text[:80]!a}. it should be octal string and between 0 and 07777, or like "
                "u=rwX,go-w", reason="BAD_MODE", field="chmod", expected="0 to 7777 (octal), or u=rwX,go-w")
        who = 0
        for letter in match[1] or "a":
            who |= _WHO[letter]
        actions += [_Action(who, cast(Literal["+", "-", "="], operator), what)
                    for operator, what in _ACTION.findall(match[2])]
    return Change(None, tuple(actions))
