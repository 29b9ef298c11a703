"""Words of an instruction: quotes, backslashes, and variables in place.

``'…'`` is taken as it stands; in ``"…"`` variables are replaced and ``\\`` keeps ``"``, ``$`` and ``\\`` from meaning
anything; outside of quotes ``\\`` does so for every character. ``$name``, ``${name}``, ``${name:-word}`` (where it is
unset or empty), ``${name-word}`` (unset), ``${name:+word}`` and ``${name+word}`` (the other way round), and
``${name:?word}`` and ``${name?word}`` (an error).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from chassis.errors import InvalidArgument

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9*@#?$!-]")
_DEPTH: Final = 20


def bad(message: str) -> InvalidArgument:
    return InvalidArgument(message, reason="BAD_INSTRUCTION", field="changes")


def split(text: str, variables: Mapping[str, str]) -> list[str]:
    """The words of ``text``, variables replaced; what a variable holds is one word, or part of one. InvalidArgument."""
    scan = _Scan(text, variables)
    words = []
    while scan.skip_space():
        words.append(scan.word(until_space=True))
    return words


def expand(text: str, variables: Mapping[str, str]) -> str:
    """All of ``text`` as one word."""
    return _Scan(text, variables).word(until_space=False)


def pairs(text: str, variables: Mapping[str, str]) -> list[tuple[str, str]]:
    """``key=value key2="a b"``, or in the old form ``key the rest``."""
    first = text.split(None, 1)
    if len(first) == 2 and "=" not in first[0]:
        return [(expand(first[0], variables), expand(first[1], variables))]
    found = []
    for word in split(text, variables):
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise bad(f"Syntax error - can't find = in {word[:80]!r}. Must be of the form: name=value")
        found.append((key, value))
    return found


class _Scan:
    """One pass over a text."""

    def __init__(self, text: str, variables: Mapping[str, str], depth: int = 0) -> None:
        if depth > _DEPTH:
            raise bad("variables are nested too deeply")
        self._text = text
        self._at = 0
        self._variables = variables
        self._depth = depth

    def skip_space(self) -> bool:
        """Whether a word follows."""
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1
        return self._at < len(self._text)

    def word(self, *, until_space: bool) -> str:
        made = []
        while self._at < len(self._text):
            char = self._text[self._at]
            if until_space and char.isspace():
                break
            made.append(self._quoted() if char in "'\"" else self._plain(char))
        return "".join(made)

    def _plain(self, char: str) -> str:
        if char == "\\":
            self._at += 2
            return self._text[self._at - 1:self._at]  # one at the very end escapes nothing
        if char == "$":
            return self._variable()
        self._at += 1
        return char

    def _quoted(self) -> str:
        quote = self._text[self._at]
        made: list[str] = []
        self._at += 1
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == quote:
                self._at += 1
                return "".join(made)
            if quote == '"' and char == "\\":
                following = self._text[self._at + 1:self._at + 2]
                made.append(following if following in '"$\\' else char + following)
                self._at += 2
            elif quote == '"' and char == "$":
                made.append(self._variable())
            else:
                made.append(char)
                self._at += 1
        raise bad(f"unexpected end of statement while looking for a matching {quote}")

    def _variable(self) -> str:
        self._at += 1
        if self._text[self._at:self._at + 1] == "{":
            return self._braced()
        match = _NAME.match(self._text, self._at)
        if match is None:
            return "$"
        self._at = match.end()
        return self._variables.get(match[0], "")

    def _braced(self) -> str:
        start = self._at + 1
        match = _NAME.match(self._text, start)
        if match is None:
            raise bad(f"bad substitution in {self._text[:80]!r}")
        name, self._at = match[0], match.end()
        value = self._variables.get(name)
        colon = self._text[self._at:self._at + 1] == ":"
        self._at += colon
        operator = self._text[self._at:self._at + 1]
        if operator == "}" and not colon:
            self._at += 1
            return value or ""
        if operator not in ("-", "+", "?"):
            raise bad(f"unsupported modifier ({operator}) in substitution")
        self._at += 1
        word = _Scan(self._inner(), self._variables, self._depth + 1).word(until_space=False)
        is_set = bool(value) if colon else value is not None
        if operator == "+":
            return word if is_set else ""
        if operator == "?" and not is_set:
            raise bad(f"{name}: {word or 'not allowed to be unset'}")
        return (value or "") if is_set else word

    def _inner(self) -> str:
        """The text up to the brace that closes this one, which is passed."""
        start, depth = self._at, 1
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == "\\":
                self._at += 1
            elif char == "{" and self._text[self._at - 1] == "$":
                depth += 1
            elif char == "}":
                depth -= 1
                if not depth:
                    self._at += 1
                    return self._text[start:self._at - 1]
            self._at += 1
        raise bad("syntax error: missing '}'")
