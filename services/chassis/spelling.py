"""What a word that is none of the known ones may have been meant for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_NEAR: Final = 2
"""Edits (a letter put in, left out or replaced, or two that changed places) up to which a word is taken for a slip."""
_LONGEST: Final = 255


def meant(word: str, options: Iterable[str]) -> str:
    """`` (did you mean X?)`` where one of the options is near, "" otherwise."""
    found = nearest(word, options)
    return f" (did you mean {found}?)" if found else ""


def nearest(word: str, options: Iterable[str]) -> str:
    """The option with the fewest edits, none where it differs in case alone; "" where none is near, or ``word`` itself
    is one."""
    best, least = "", _NEAR + 1
    for option in options:
        if option == word:
            return ""
        edits = least
        if option.casefold() == word.casefold():
            edits = 0
        elif abs(len(word) - len(option)) <= _NEAR and len(word) <= _LONGEST:
            edits = _edits(word, option)
        if edits < least:
            best, least = option, edits
    return best if least < len(word) else ""


def _edits(one: str, other: str) -> int:
    """The distance of optimal string alignment."""
    before, row = list[int](), list(range(len(other) + 1))
    for number, char in enumerate(one, 1):
        above, before, row = before, row, [number]
        for place, wanted in enumerate(other, 1):
            row.append(min(row[-1] + 1, before[place] + 1, before[place - 1] + (char != wanted)))
            if above and place > 1 and (char, one[number - 2]) == (other[place - 2], wanted):
                row[-1] = min(row[-1], above[place - 2] + 1)
    return row[-1]
