"""The forms that an instruction's arguments come in: JSON arrays, words, pairs. Variables stay as they are."""

from __future__ import annotations

import json
import re
from typing import Final

from coordinator.dockerfile.errors import bad, shown
from coordinator.dockerfile.instructions import Command

BLANK: Final = re.compile(r"[\t\v\f\r ]+")
_PLAIN: Final = re.compile(r"[^\s'\"\\`]+")


def array(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON array, None for what is no JSON: that is the shell's then. InvalidArgument for an array of
    something else."""
    if not text.lstrip().startswith("["):
        return None
    try:
        found = json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(item, str) for item in found):
        raise bad("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(item.encode("utf-8", "replace").decode() for item in found)  # half a surrogate pair is no character


def _not_json(name: str) -> None:
    raise ValueError(name)


def command(text: str) -> Command:
    words = array(text)
    return Command(None, text) if words is None else Command(words)


def blank_divided(text: str) -> tuple[str, ...]:
    """Words between blanks, quotes or not."""
    return tuple(BLANK.split(text)) if text else ()


def list_(text: str) -> tuple[str, ...]:
    """A JSON array, or words between blanks."""
    words = array(text)
    return blank_divided(text) if words is None else words


def pairs(keyword: str, text: str, escape: str) -> tuple[tuple[str, str], ...]:
    """``key=value key2="a b"``, or in the old form ``key the rest``."""
    words = quoted_words(text, escape)
    if not words:
        raise bad(f"{keyword} requires at least one argument")
    if is_old_form(words):
        key, *rest = BLANK.split(text, maxsplit=1)
        if not rest:
            raise bad(f"{keyword} must have two arguments")
        return ((key, rest[0]),)
    found = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise bad(f"Syntax error - can't find = in {shown(word)!r}. Must be of the form: name=value")
        if not key:
            raise bad(f"{keyword} names can not be blank")
        found.append((key, value))
    return tuple(found)


def is_old_form(words: tuple[str, ...]) -> bool:
    """Whether pairs are written as ``key the rest``."""
    return bool(words) and "=" not in words[0]


def quoted_words(text: str, escape: str) -> tuple[str, ...]:
    """Words between blanks that are not quoted; quotes and escape characters stay."""
    words, word = list[str](), list[str]()
    at, quote = 0, ""
    while at < len(text):
        char = text[at]
        if not quote and char.isspace():
            if word:
                words.append("".join(word))
                word = []
            at += 1
            continue
        plain = _PLAIN.match(text, at)
        if plain:
            part = plain[0]
        elif char == escape and quote != "'":
            part = text[at:at + 2] if at + 1 < len(text) else ""
        else:
            part = char
            quote = _quote_after(quote, char)
        word.append(part)
        at += len(part) or 1
    if word:
        words.append("".join(word))
    return tuple(found for found in words if found)


def _quote_after(quote: str, char: str) -> str:
    """The quote that is open behind ``char``."""
    if char not in ("'", '"'):
        return quote
    return "" if quote == char else quote or char
