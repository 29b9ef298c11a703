"""A file's text as the lines of its instructions: comments, directives, continuations and heredocs.

Source: BuildKit's frontend/dockerfile/parser. Bytes that are not UTF-8 are let pass in comments only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from buildd.dockerfile import heredocs
from buildd.dockerfile.errors import at
from buildd.dockerfile.instructions import Heredoc, Location
from chassis.errors import InvalidArgument
from coordinator.dockerfile.errors import shown
from coordinator.dockerfile.statement import BLANKS

SIZE_MAX: Final = 16 << 20
LINE_MAX: Final = (64 << 10) - 1
"""Characters of one line of the file, as BuildKit has it."""
INSTRUCTION_MAX: Final = 256 << 10
"""Characters of one instruction, its lines joined: no program takes an argument half as long (execve(2))."""
INSTRUCTIONS_MAX: Final = 20_000
TEXT_MAX: Final = 2 << 20
"""Characters of all instructions. With it, whatever is done with a file before it is built takes seconds at most."""
_DIRECTIVES: Final = ("syntax", "escape", "check")
_DIRECTIVE: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_NOT_TEXT: Final = re.compile("[\0\udc80-\udcff]")
_DECODED: Final = "surrogateescape"


@dataclass(frozen=True)
class Line:
    """One instruction. ``comments`` stand right above it; ``has_empty``: a line within it is empty."""

    location: Location
    text: str
    comments: tuple[str, ...]
    heredocs: tuple[Heredoc, ...]
    has_empty: bool


@dataclass
class Lines:
    """Iterate once; ``directives`` and ``escape`` hold from the first line given on."""

    name: str
    _texts: list[str]
    directives: dict[str, str] = field(default_factory=dict)
    escape: str = "\\"
    _at: int = 0
    _directives_done: bool = False
    _count: int = 0
    _length: int = 0

    def __iter__(self) -> Iterator[Line]:
        comments = list[str]()
        while self._at < len(self._texts):
            text = self._next().rstrip("\r\n").lstrip(BLANKS)
            if self._is_directive(text):
                continue
            if text.startswith("#"):
                comment = text[1:].strip(BLANKS)
                comments = [*comments[-99:], comment] if comment else []
                continue
            if not text:
                comments = []
                continue
            yield self._instruction(text, tuple(comments))
            comments = []

    def _instruction(self, text: str, comments: tuple[str, ...]) -> Line:
        first, has_empty = self._at, False
        text, more = self._continued(text)
        parts, length = [text], len(text)
        while more and self._at < len(self._texts):
            following = self._next().rstrip("\r\n")
            stripped = following.lstrip(BLANKS)
            if stripped.startswith("#"):
                continue
            if not stripped:
                has_empty = True
                continue
            part, more = self._continued(following)
            parts.append(part)
            length += len(part)
            if length > INSTRUCTION_MAX:
                raise at(self.name, Location(first, self._at), f"instruction longer than {INSTRUCTION_MAX} characters")
        text = "".join(parts)
        self._bound(Location(first, self._at), length)
        found = tuple(self._heredoc(start, first) for start in heredocs.starts(text))
        line = Line(Location(first, self._at), text, comments, found, has_empty)
        if _NOT_TEXT.search(text) or any(_NOT_TEXT.search(heredoc.raw) for heredoc in found):
            raise at(self.name, line.location, "an instruction must be UTF-8 without NUL")
        return line

    def _bound(self, location: Location, length: int) -> None:
        self._count += 1
        self._length += length
        if self._count > INSTRUCTIONS_MAX or self._length > TEXT_MAX:
            raise at(self.name, location,
                     f"more than {INSTRUCTIONS_MAX} instructions, or {TEXT_MAX} characters of them")

    def _heredoc(self, start: heredocs.Start, first: int) -> Heredoc:
        parts = list[str]()
        while self._at < len(self._texts):
            text = self._next()
            if start.is_end(text):
                return start.heredoc("".join(parts))
            parts.append(text)
        raise at(self.name, Location(first, self._at), "unterminated heredoc")

    def _next(self) -> str:
        text = self._texts[self._at]
        self._at += 1
        if len(text) > LINE_MAX:
            raise at(self.name, Location(self._at, self._at),
                     f"dockerfile line greater than max allowed size of {LINE_MAX}")
        return text

    def _continued(self, text: str) -> tuple[str, bool]:
        """The text without the escape character that continues it, and whether there was one."""
        bare = text.rstrip(" \t")
        if bare.endswith(self.escape) and not bare.endswith(self.escape * 2):
            return bare[:-1], True
        return text, False

    def _is_directive(self, text: str) -> bool:
        if self._directives_done:
            return False
        name, equals, value = text[1:].partition("=")
        name, value = name.strip(BLANKS).lower(), value.strip(BLANKS)
        if not (text.startswith("#") and equals and value and _DIRECTIVE.fullmatch(name) and name in _DIRECTIVES):
            self._directives_done = True
            return False
        here = Location(self._at, self._at)
        if name in self.directives:
            raise at(self.name, here, f"only one {name} parser directive can be used")
        if name == "escape":
            if value not in ("`", "\\"):
                raise at(self.name, here, f"invalid escape token '{shown(value)}' does not match ` or \\")
            self.escape = value
        self.directives[name] = value
        return True


def lines(source: bytes, name: str) -> Lines:
    """InvalidArgument for a file that is empty, or larger than `SIZE_MAX` bytes; iterating raises the others."""
    if not source:
        raise InvalidArgument(f"the Dockerfile ({name}) cannot be empty", reason="BAD_DOCKERFILE", field=name)
    if len(source) > SIZE_MAX:
        raise InvalidArgument(f"{name} exceeds maximum allowed size of {SIZE_MAX} bytes", reason="BAD_DOCKERFILE",
                              field=name)
    texts = source.decode("utf-8", _DECODED).removeprefix("\ufeff").split("\n")
    ended = [text + "\n" for text in texts[:-1]]
    return Lines(name, ended + texts[-1:] if texts[-1] else ended)
