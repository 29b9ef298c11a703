"""What is wrong with an instruction, in BuildKit's words, and with what it may have been meant for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from chassis.errors import InvalidArgument

_NEAR: Final = 2
"""Edits (one letter put in, left out or replaced) up to which a word is taken for a slip of another one."""
_SHOWN: Final = 80


def bad(message: str) -> InvalidArgument:
    """Whoever knows where the instruction stands says so instead (``located`` of the parser, ``apply``)."""
    return InvalidArgument(message, reason="BAD_INSTRUCTION", field="instruction")


def shown(text: str) -> str:
    """``text`` as a message quotes it: short, and without what a terminal would obey."""
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return cut if cut.isprintable() else ascii(cut)[1:-1]


def meant(word: str, options: Iterable[str]) -> str:
    """`` (did you mean X?)`` where one of the options is near, "" otherwise."""
    found = nearest(word, options)
    return f" (did you mean {found}?)" if found else ""


def nearest(word: str, options: Iterable[str]) -> str:
    """The option with the fewest edits; "" where none is near, or ``word`` itself is one."""
    best, least = "", _NEAR + 1
    for option in options:
        if option == word:
            return ""
        edits = _edits(word, option) if abs(len(word) - len(option)) <= _NEAR else least
        if edits < least:
            best, least = option, edits
    return best


def _edits(one: str, other: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(other) + 1))
    for number, char in enumerate(one, 1):
        before, row[0] = row[0], number
        for place, wanted in enumerate(other, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (char != wanted))
    return row[-1]
