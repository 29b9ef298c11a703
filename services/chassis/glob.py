"""Go's wildcards as regular expressions: ``*``, ``?``, ``[…]`` and ``\\`` of filepath.Match.

Patterns and names are strangers'. A regular expression that comes of them takes time linear in the name: what stands
between two stars is found once, and never looked for again (an atomic group). Names are bytes; a character of UTF-8
counts as one, as in Go. Source: Go's path/filepath, "func Match". Only the standard library is imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from chassis.errors import InvalidArgument

_STAR: Final = "*"
_ONE: Final = "?"
_SET: Final = "["
_ITSELF: Final = ""


class Token(NamedTuple):
    """``kind`` is "" for the character ``text`` itself, "*", "?", or "[" for the set that the regular expression
    ``text`` describes."""

    kind: str
    text: str = ""


def text_of(raw: bytes) -> str:
    """Bytes as the text that patterns work on; each that is no UTF-8 is a character of its own."""
    return raw.decode("utf-8", "surrogateescape")


def has_wildcard(pattern: bytes) -> bool:
    """Whether one of ``*?[`` stands in it, not escaped."""
    return re.search(rb"(?<!\\)(?:\\\\)*[*?\[]", pattern) is not None



def tokens(pattern: str, field: str) -> Iterator[Token]:
    """The parts of a pattern. InvalidArgument (BAD_PATTERN) names ``field``."""
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character in (_STAR, _ONE):
            yield Token(character)
        elif character == _SET:
            found, position = _set(pattern, position, field)
            yield Token(_SET, found)
        elif character == "\\":
            if position == len(pattern):
                raise bad(pattern, field)
            yield Token(_ITSELF, pattern[position])
            position += 1
        else:
            yield Token(_ITSELF, character)


def _set(pattern: str, position: int, field: str) -> tuple[str, int]:
    """The set whose text begins at ``position``, as a regular expression; and where it ends."""
    negated = pattern[position : position + 1] == "^"
    position += negated
    ranges: list[str] = []
    while not ranges or pattern[position : position + 1] != "]":
        low, position = _member(pattern, position, field)
        high = low
        if pattern[position : position + 1] == "-":
            high, position = _member(pattern, position + 1, field)
        ranges.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
    inside = "".join(ranges)
    if not inside:  # ranges that run backwards hold nothing
        return ("[^/]" if negated else "(?!)"), position + 1
    return f"(?!/)[{'^' if negated else ''}{inside}]", position + 1


def _member(pattern: str, position: int, field: str) -> tuple[str, int]:
    character = pattern[position : position + 1]
    if character == "\\":
        position += 1
        character = pattern[position : position + 1]
    elif character in ("-", "]"):
        raise bad(pattern, field)
    if not character or position + 1 == len(pattern):
        raise bad(pattern, field)
    return character, position + 1


def bad(pattern: str, field: str) -> InvalidArgument:
    """The error of a pattern that is none."""
    return InvalidArgument(f"{field}: syntax error in pattern {pattern[:80]!a}", reason="BAD_PATTERN", field=field,
                           expected="*, ?, [a-z], and \\ before one of them")


def expression(parts: Sequence[Token]) -> str:
    """A regular expression for tokens within one part of a path, to be followed by "/" or the end."""
    runs: list[list[Token]] = [[]]
    for part in parts:
        if part.kind == _STAR:
            runs.append([])
        else:
            runs[-1].append(part)
    first, *rest = ["".join(map(_one, run)) for run in runs]
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>[^/]*?{run})" for run in middle if run) + f"[^/]*{last}"


def _one(part: Token) -> str:
    if part.kind == _ONE:
        return "[^/]"
    return part.text if part.kind == _SET else re.escape(part.text)


def compiled(pattern: bytes, field: str = "pattern") -> re.Pattern[str]:
    """For ``fullmatch`` with the ``text_of`` one part of a path. InvalidArgument (BAD_PATTERN) names ``field``."""
    return re.compile(expression(list(tokens(text_of(pattern), field))), re.DOTALL)
