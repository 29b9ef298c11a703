"""Shell patterns within variables: ``*`` for any text, ``?`` for one character, neither for a line's end.

A text is matched in one pass that keeps every place of the pattern where a match may have got to (as bits of a number),
so that no pattern takes longer than its length times the text's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from coordinator.dockerfile.errors import bad, shown

_ESCAPED: Final = "*?\\"
_NEEDS_NO_ESCAPE: Final = "}/"
_LONGEST: Final = 1024


@dataclass(frozen=True)
class Pattern:
    """``literals`` has, for each character, the bits of the places that it passes."""

    length: int
    literals: dict[str, int]
    anything: int
    stars: int

    def ends(self, text: str, start: int) -> Iterator[int]:
        """Every place at which a match that begins at ``start`` ends, from left to right."""
        last = 1 << self.length
        places = self._beyond_stars(1)
        for at in range(start, len(text) + 1):
            if places & last:
                yield at
            if at == len(text) or not places:
                return
            places = self._step(places, text[at])

    def reversed(self) -> Pattern:
        """The pattern that matches the same texts written backwards."""
        def turned(bits: int) -> int:
            return int(f"{bits:b}".zfill(self.length)[::-1], 2) if self.length else 0

        return Pattern(self.length, {char: turned(bits) for char, bits in self.literals.items()},
                       turned(self.anything), turned(self.stars))

    def starts(self, text: str) -> list[bool]:
        """For each place of ``text``, its end too, whether a match begins there."""
        backwards = self.reversed()
        last, initial = 1 << self.length, backwards._beyond_stars(1)
        places, found = initial, [bool(initial & last)]
        for char in reversed(text):
            places = backwards._step(places, char) | initial
            found.append(bool(places & last))
        return found[::-1]

    def _step(self, places: int, char: str) -> int:
        here = self.literals.get(char, 0)
        if char == "\n":
            return self._beyond_stars((places & here) << 1)
        return self._beyond_stars((places & (here | self.anything)) << 1 | places & self.stars)

    def _beyond_stars(self, places: int) -> int:
        return places | (places & self.stars) << 1


def pattern(text: str) -> Pattern:
    """InvalidArgument for a backslash before what needs none."""
    if len(text) > _LONGEST:
        raise bad(f"the pattern {shown(text)!r} is longer than {_LONGEST} characters")
    literals: dict[str, int] = {}
    anything = stars = place = at = 0
    while at < len(text):
        char, bit = text[at], 1 << place
        at += 1
        if char == "*":
            if place and stars & bit >> 1:
                continue
            stars |= bit
        elif char == "?":
            anything |= bit
        else:
            if char == "\\":
                char = text[at:at + 1]
                if not char or char not in _ESCAPED + _NEEDS_NO_ESCAPE:
                    raise bad(f"invalid pattern ({shown(text)}) in substitution: invalid escape '\\{shown(char)}'")
                at += 1
            literals[char] = literals.get(char, 0) | bit
        place += 1
    return Pattern(place, literals, anything, stars)


def without_prefix(value: str, wanted: Pattern, *, longest: bool) -> str:
    ends = wanted.ends(value, 0)
    end = max(ends, default=0) if longest else next(ends, 0)
    return value[end:]


def without_suffix(value: str, wanted: Pattern, *, longest: bool) -> str:
    return without_prefix(value[::-1], wanted.reversed(), longest=longest)[::-1]


def replaced(value: str, wanted: Pattern, replacement: str, *, everywhere: bool, most: int) -> str:
    """``value`` with the leftmost longest match replaced, or with every one; at most ``most`` characters long."""
    starts = wanted.starts(value)
    made, length, at, after_match = list[str](), 0, 0, -1
    while at <= len(value):
        end = max(wanted.ends(value, at)) if starts[at] else -1
        if end > at or end == at != after_match:
            made.append(replacement)
            length += len(replacement)
            after_match = end
            if not everywhere:
                made.append(value[end:])
                break
            if end > at:
                at = end
                continue
        made.append(value[at:at + 1])
        at += 1
        if length > most:
            raise bad("what a variable stands for becomes too long")
    return "".join(made)
