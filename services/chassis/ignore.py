"""Which files are left out: the patterns of a .dockerignore file and of COPY --exclude, as moby's patternmatcher reads
them.

A pattern matches a path or whatever is below it; the last of them that does decides, and one that begins with ``!``
lets in again. ``*`` and ``?`` stay within a part of a path, ``**`` goes over any number of parts. Patterns and paths
are strangers': no matching takes longer than their lengths multiplied. Example::

    matcher = Matcher(read(text))
    verdict = matcher.at(b"src", matcher.top)
    verdict = matcher.at(b"src/main.o", verdict)      # verdict.matched: it is left out

Source: moby's patternmatcher; Docker's documentation of ".dockerignore". Only the standard library is imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from chassis import glob
from chassis.errors import InvalidArgument
from chassis.glob import Token

_PATTERNS: Final = 10_000
_DIRS: Final = "**/"
"""Token: any number of whole parts, none too."""
_REST: Final = "**"
"""Token: whatever is left."""

Match = Callable[[str], bool]


class Verdict(NamedTuple):
    """Whether a path is left out, and which patterns have matched it or what it is in."""

    matched: bool
    each: tuple[bool, ...]


class Matcher:
    """Patterns in their order. InvalidArgument (BAD_PATTERN) names ``field``."""

    def __init__(self, patterns: Sequence[bytes], field: str = "exclude") -> None:
        if len(patterns) > _PATTERNS:
            raise InvalidArgument(f"{field}: {len(patterns)} patterns are too many", reason="BAD_PATTERN", field=field,
                                  expected=f"{_PATTERNS} at most")
        self._patterns = [made for raw in patterns if (made := _pattern(raw, field)) is not None]
        self.lets_in = any(inverted for inverted, _ in self._patterns)
        """Whether something in a directory that is left out may be let in again."""
        self.top = Verdict(False, (False,) * len(self._patterns))
        """The verdict on the root of the tree."""

    def at(self, path: bytes, above: Verdict) -> Verdict:
        """On ``path``, relative and without "." or "..", in the directory on which ``above`` is the verdict."""
        text = glob.text_of(path)
        matched, each = False, []
        for (inverted, match), known in zip(self._patterns, above.each, strict=True):
            found = known or match(text)
            each.append(found)
            if found:
                matched = not inverted
        return Verdict(matched, tuple(each))

    def at_path(self, path: bytes) -> Verdict:
        """On ``path`` by itself; b"" is the root of the tree."""
        verdict, parts = self.top, path.split(b"/") if path else []
        for length in range(1, len(parts) + 1):
            verdict = self.at(b"/".join(parts[:length]), verdict)
        return verdict

    def matches(self, path: bytes) -> bool:
        """Whether ``path`` is left out."""
        return self.at_path(path).matched


def read(text: bytes) -> list[bytes]:
    """The patterns of a .dockerignore file."""
    found = []
    for line in text.removeprefix(b"\xef\xbb\xbf").splitlines():
        if line.startswith(b"#"):
            continue
        pattern = line.strip()
        inverted = pattern.startswith(b"!")
        if inverted:
            pattern = pattern[1:].strip()
        if pattern:
            pattern = _clean(pattern)
            if len(pattern) > 1:
                pattern = pattern.removeprefix(b"/")
        if pattern or inverted:
            found.append((b"!" if inverted else b"") + pattern)
    return found


def _clean(path: bytes) -> bytes:
    """Go's filepath.Clean."""
    cleaned = os.path.normpath(path)
    return cleaned[1:] if cleaned.startswith(b"//") else cleaned


def _pattern(raw: bytes, field: str) -> tuple[bool, Match] | None:
    """(whether it lets in, its match); None for an empty one."""
    pattern = raw.strip()
    if not pattern:
        return None
    pattern = _clean(pattern)
    inverted = pattern.startswith(b"!")
    if inverted:
        pattern = pattern[1:]
        if not pattern:
            raise InvalidArgument(f'{field}: illegal exclusion pattern: "!"', reason="BAD_PATTERN", field=field,
                                  expected="a pattern after the !")
    return inverted, _match(glob.text_of(pattern), field)


def _match(pattern: str, field: str) -> Match:
    parts = _tokens(pattern, field)
    kinds = [part.kind for part in parts]
    text = "".join(part.text for part in parts)
    if not any(kinds):
        return lambda path: path == text
    if kinds[0] in (_DIRS, _REST) and not any(kinds[1:]):
        # moby compares the end alone: "**x" is also the end of a name, not a name only.
        slash = pattern.startswith("**/")
        return lambda path: path.endswith("/" + text if slash and text else text) or (slash and path == text)
    if kinds[-1] == _REST and not any(kinds[:-1]):
        return lambda path: path.startswith(text)
    if sum(kind in (_DIRS, _REST) for kind in kinds) <= 1:
        return _by_expression(parts)
    return _Machine(parts)


def _tokens(pattern: str, field: str) -> list[Token]:
    """filepath.Match's, with two stars for what they mean."""
    found: list[Token] = []
    plain = list(glob.tokens(pattern, field))
    position = 0
    while position < len(plain):
        if [part.kind for part in plain[position : position + 2]] != ["*", "*"]:
            found.append(plain[position])
            position += 1
            continue
        position += 2
        if position < len(plain) and plain[position] == Token("", "/"):
            position += 1
        found.append(Token(_DIRS if position < len(plain) else _REST))
    return found


def _by_expression(parts: Iterable[Token]) -> Match:
    """One walk over all parts of a path but the one stands for several, at which there are as many ways as parts."""
    text, held = "", list[Token]()
    for part in parts:
        if part.kind not in (_DIRS, _REST) and part != Token("", "/"):
            held.append(part)
            continue
        text += glob.expression(held) + {_DIRS: "(?:.*/)?", _REST: ".*"}.get(part.kind, "/")
        held.clear()
    compiled = re.compile(text + glob.expression(held), re.DOTALL)
    return lambda path: compiled.fullmatch(path) is not None


class _Machine:
    """All ways at once, where there are several ``**``: a set of places in the pattern that goes along the path."""

    def __init__(self, parts: Sequence[Token]) -> None:
        self._parts = parts
        self._sets = {part: re.compile(part.text) for part in parts if part.kind == "["}

    def __call__(self, path: str) -> bool:
        # A place is (index of a token, whether it is within a "**/" that has begun).
        here = self._open({(0, False)})
        for character in path:
            here = self._open({place for old in here for place in self._step(old, character)})
            if not here:
                return False
        return (len(self._parts), False) in here

    def _open(self, places: set[tuple[int, bool]]) -> set[tuple[int, bool]]:
        """With what can be reached from them without a character."""
        waiting = list(places)
        while waiting:
            index, within = waiting.pop()
            if within or index == len(self._parts) or self._parts[index].kind not in ("*", _DIRS, _REST):
                continue
            following = (index + 1, False)
            if following not in places:
                places.add(following)
                waiting.append(following)
        return places

    def _step(self, place: tuple[int, bool], character: str) -> Iterable[tuple[int, bool]]:
        index, _ = place
        if index == len(self._parts):
            return
        part = self._parts[index]
        if part.kind == _DIRS:
            yield index, True
            if character == "/":
                yield index + 1, False
        elif part.kind == _REST or (part.kind == "*" and character != "/"):
            yield place
        elif part.kind == "?":
            if character != "/":
                yield index + 1, False
        elif part.kind == "[":
            if self._sets[part].fullmatch(character):
                yield index + 1, False
        elif part.kind == "" and part.text == character:
            yield index + 1, False
