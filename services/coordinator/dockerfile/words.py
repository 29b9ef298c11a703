"""Words of an instruction: quotes, the escape character, and variables in place.

``'…'`` is taken as it stands; in ``"…"`` variables are replaced, and the escape character keeps ``"``, ``$`` and itself
from meaning anything; outside of quotes it does so for every character. ``$name``, ``${name}``, ``${name:-word}``
(where it is unset or empty), ``${name-word}`` (unset), ``${name:+word}`` and ``${name+word}`` (the other way round),
``${name:?word}`` and ``${name?word}`` (an error), ``${name#pattern}`` and ``##`` (without the shortest and longest such
beginning), ``${name%pattern}`` and ``%%`` (such end), ``${name/pattern/word}`` and ``//`` (replaced once, everywhere).

What is not set is nothing. What a variable holds is part of its word; where a text is several words, its blanks divide
them. No text gets longer than `LONGEST`, however often variables hold one another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from coordinator.dockerfile import patterns
from coordinator.dockerfile.errors import bad, shown

LONGEST: Final = 1 << 20
"""Characters."""
_WORK: Final = 16 << 20
"""Characters that variables may bring, and patterns be held against."""
_NAME: Final = re.compile(r"[0-9]+|[@*#?$!-]|\w+")
_PLAIN: Final = re.compile(r"[^\s$'\"\\`}/]+")
_DEPTH: Final = 20


@dataclass(frozen=True)
class Expansion:
    """``text`` as one word and as ``words``; the names of variables that were set, and of those that were not and
    had no word given for that case."""

    text: str
    words: tuple[str, ...]
    used: frozenset[str]
    missing: frozenset[str]


@dataclass
class Work:
    """What is left to spend on one instruction, or on all that share it: none takes for ever, or fills the memory."""

    left: int = _WORK

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise bad("what variables hold comes to too much in all")


@dataclass(frozen=True)
class Lexer:
    """How one instruction's words are read. With ``quotes`` off, they are characters like others; ``raw_quotes`` and
    ``raw_escapes`` leave them in the text; ``keep_unset`` leaves what is not set as it stands."""

    escape: str = "\\"
    quotes: bool = True
    raw_quotes: bool = False
    raw_escapes: bool = False
    keep_unset: bool = False
    work: Work = field(default_factory=Work)

    def read(self, text: str, variables: Mapping[str, str]) -> Expansion:
        """InvalidArgument where a quote or brace is not closed, a modifier is none, or ``?`` says so."""
        scan = _Scan(self, text, variables)
        made = scan.until("", self.raw_escapes)
        return Expansion(made, scan.words.done(), frozenset(scan.used), frozenset(scan.missing))


class _Words:
    """Words as they come together; an empty one is none."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._word: list[str] = []

    def add(self, text: str) -> None:
        """Part of the word."""
        if text:
            self._word.append(text)

    def add_divided(self, text: str) -> None:
        """Text whose blanks divide words."""
        first, *others = re.split(r"\s+", text)
        self.add(first)
        for part in others:
            self.done()
            self.add(part)

    def done(self) -> tuple[str, ...]:
        """All words up to here: what follows is another one."""
        if self._word:
            self._done.append("".join(self._word))
            self._word = []
        return tuple(self._done)


class _Scan:
    """One pass over a text."""

    def __init__(self, lexer: Lexer, text: str, variables: Mapping[str, str]) -> None:
        self._lexer = lexer
        self._text = text
        self._variables = variables
        self._at = 0
        self._depth = 0
        self._raw_escapes = lexer.raw_escapes
        self.words = _Words()
        self.used = set[str]()
        self.missing = set[str]()

    def until(self, stop: str, raw_escapes: bool) -> str:
        """The text up to ``stop`` ("" for the end), which is passed."""
        outer, self._raw_escapes = self._raw_escapes, raw_escapes
        words = self.words if not stop else None
        made, length = list[str](), 0
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == stop:
                break
            part = self._part(char, words)
            made.append(part)
            length += len(part)
            if length > LONGEST:
                raise bad(f"{shown(self._text)!r} becomes longer than {LONGEST} characters")
        else:
            if stop:
                raise bad(f"syntax error: missing {stop!r} in {shown(self._text)!r}")
        self._at += len(stop)
        self._raw_escapes = outer
        return "".join(made)

    def _part(self, char: str, words: _Words | None) -> str:
        if char == "$":
            part = self._variable()
            if words:
                words.add_divided(part)
            return part
        if char in "'\"" and self._lexer.quotes:
            part = self._single() if char == "'" else self._double()
        elif char == self._lexer.escape:
            part = self._escaped()
        elif char.isspace():
            self._at += 1
            if words:
                words.done()
            return char
        else:
            plain = _PLAIN.match(self._text, self._at)
            part = plain[0] if plain else char
            self._at += len(part)
        if words:
            words.add(part)
        return part

    def _escaped(self) -> str:
        self._at += 2
        following = self._text[self._at - 1:self._at]  # one at the very end escapes nothing
        return self._lexer.escape + following if self._raw_escapes else following

    def _single(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise bad(f"unexpected end of statement while looking for matching single-quote in {shown(self._text)!r}")
        start, self._at = self._at, end + 1
        return self._text[start:end + 1] if self._lexer.raw_quotes else self._text[start + 1:end]

    def _double(self) -> str:
        made = ['"'] if self._lexer.raw_quotes else []
        self._at += 1
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == '"':
                self._at += 1
                return "".join(made) + ('"' if self._lexer.raw_quotes else "")
            if char == "$":
                made.append(self._variable())
            elif char == self._lexer.escape:
                made.append(self._escaped_in_quotes())
            else:
                plain = _PLAIN.match(self._text, self._at)
                made.append(plain[0] if plain else char)
                self._at += len(made[-1])
        raise bad(f"unexpected end of statement while looking for matching double-quote in {shown(self._text)!r}")

    def _escaped_in_quotes(self) -> str:
        escape = self._lexer.escape
        following = self._text[self._at + 1:self._at + 2]
        if following not in ('"', "$", escape):
            self._at += 1
            return escape * 2 if self._raw_escapes and following else escape if following else ""
        self._at += 2
        return escape + following if self._raw_escapes else following

    def _variable(self) -> str:
        self._at += 1
        match = _NAME.match(self._text, self._at)
        if self._text[self._at:self._at + 1] == "{":
            made = self._braced()
        elif match is None:
            made = "$"
        else:
            self._at = match.end()
            value = self._value(match[0])
            made = f"${match[0]}" if value is None and self._lexer.keep_unset else value or ""
        self._lexer.work.spend(len(made))
        return made

    def _value(self, name: str, *, expected: bool = True) -> str | None:
        value = self._variables.get(name)
        if value is not None:
            self.used.add(name)
        elif expected:
            self.missing.add(name)
        return value

    def _braced(self) -> str:
        if self._depth == _DEPTH:
            raise bad("variables are nested too deeply")
        start, self._at = self._at - 1, self._at + 1
        match = _NAME.match(self._text, self._at)
        if match is None:
            what = "bad substitution" if self._at < len(self._text) else "missing '}'"
            raise bad(f"syntax error: {what} in {shown(self._text)!r}")
        self._at = match.end()
        self._depth += 1
        kept = self._lexer.keep_unset and match[0] not in self._variables
        made = self._skipped() if kept else self._modified(match[0])
        self._depth -= 1
        return self._text[start:self._at] if kept else made

    def _skipped(self) -> str:
        """Pass what is kept as it stands, up to its brace."""
        return self.until("}", raw_escapes=True)

    def _modified(self, name: str) -> str:
        colon = self._text[self._at:self._at + 1] == ":"
        self._at += colon
        operator = self._text[self._at:self._at + 1]
        self._at += 1
        if operator == "}" and not colon:
            return self._value(name) or ""
        if operator == "/" and not colon:
            return self._replaced(name)
        if not operator:
            raise bad(f"syntax error: missing '}}' in {shown(self._text)!r}")
        if operator not in "-+?#%":
            raise bad(f"unsupported modifier ({':' * colon}{shown(operator)}) in substitution")
        word = self.until("}", operator in "#%")
        return self._trimmed(name, operator, word) if operator in "#%" else self._chosen(name, operator, word, colon)

    def _chosen(self, name: str, operator: str, word: str, colon: bool) -> str:
        value = self._value(name, expected=False)
        is_set = bool(value) if colon else value is not None
        if operator == "+":
            return word if is_set else ""
        if operator == "?" and not is_set:
            raise bad(f"{name}: {word or 'is not allowed to be ' + ('unset' if value is None else 'empty')}")
        return (value or "") if is_set else word

    def _trimmed(self, name: str, operator: str, word: str) -> str:
        value = self._value(name) or ""
        longest = word.startswith(operator)
        wanted = patterns.pattern(word[longest:])
        self._lexer.work.spend(len(value))
        without = patterns.without_prefix if operator == "#" else patterns.without_suffix
        return without(value, wanted, longest=longest)

    def _replaced(self, name: str) -> str:
        everywhere = self._text[self._at:self._at + 1] == "/"
        self._at += everywhere
        wanted = patterns.pattern(self.until("/", True))
        replacement = self.until("}", True)
        value = self._value(name) or ""
        self._lexer.work.spend(2 * len(value))
        return patterns.replaced(value, wanted, replacement, everywhere=everywhere, most=LONGEST)
