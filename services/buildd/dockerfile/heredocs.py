"""Heredocs: which words of an instruction begin one, and what stands in them.

The shell's grammar, as BuildKit reads it: ``<<NAME``, ``<<-NAME`` (tabs at the lines' beginnings are taken away), the
name in quotes where variables in the text stay, a number of a descriptor before it. Only RUN, COPY and ADD take them,
and ONBUILD of those, unless their arguments are a JSON array.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from buildd.dockerfile.instructions import Heredoc, Location
from chassis.errors import InvalidArgument
from coordinator.dockerfile import forms
from coordinator.dockerfile.statement import statement
from coordinator.dockerfile.words import Lexer

_TAKERS: Final = ("RUN", "COPY", "ADD")
_WORD: Final = re.compile(r"[0-9]*<<(-?)([^<]*)")
_TABS: Final = re.compile(r"^\t+", re.MULTILINE)
_NOWHERE: Final = Location(1, 1)


@dataclass(frozen=True)
class Start:
    """``<<NAME``: what a heredoc's end looks like."""

    name: str
    literal: bool
    without_tabs: bool

    def is_end(self, line: str) -> bool:
        line = line.rstrip("\r\n")
        return (line.lstrip("\t") if self.without_tabs else line) == self.name

    def heredoc(self, raw: str) -> Heredoc:
        return Heredoc(self.name, _TABS.sub("", raw) if self.without_tabs else raw, self.literal, raw)


def starts(line: str) -> list[Start]:
    """The heredocs that an instruction's line begins, in their order."""
    if "<<" not in line or not _takes_some(line):
        return []
    lexer = Lexer(raw_quotes=True, raw_escapes=True, keep_unset=True)
    try:
        words = lexer.read(line, {}).words
    except InvalidArgument:
        return []  # a quote that does not end is the shell's own affair
    return [found for word in words if (found := start(word))]


def start(word: str) -> Start | None:
    """What ``word`` begins, None if it is no heredoc."""
    match = _WORD.fullmatch(word)
    if match is None:
        return None
    try:
        plain = Lexer(keep_unset=True).read(match[2], {}).words
        raw = Lexer(keep_unset=True, raw_quotes=True).read(match[2], {}).words
    except InvalidArgument:
        return None
    if len(plain) != 1 or len(raw) != 1:
        return None
    return Start(plain[0], _quotes(plain[0]) != _quotes(raw[0]), match[1] == "-")


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')


def _takes_some(line: str) -> bool:
    found = statement(line, _NOWHERE)
    if found.keyword == "ONBUILD":
        found = statement(found.arguments, _NOWHERE)
    if found.keyword not in _TAKERS:
        return False
    try:
        return forms.array(found.arguments) is None
    except InvalidArgument:
        return False
