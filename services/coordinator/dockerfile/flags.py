"""Flags of an instruction: ``--name=value`` before its arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from chassis.spelling import meant
from coordinator.dockerfile.errors import bad, shown

Kind = Literal["text", "texts", "switch"]
"""What a flag takes: one value, one each time it is given, or true, false and nothing."""
_PLAIN: Final = re.compile(r"[^\s'\"\\]+")


@dataclass(frozen=True)
class Flags:
    """What was given, by name."""

    given: Mapping[str, Sequence[str]]

    def text(self, name: str) -> str:
        return self.given.get(name, ("",))[-1]

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(self.given.get(name, ()))

    def switch(self, name: str) -> bool:
        return self.text(name) == "true"

    def optional_switch(self, name: str) -> bool | None:
        return self.switch(name) if name in self.given else None


def divided(text: str) -> tuple[tuple[str, ...], str]:
    """The flags that ``text`` begins with, without their quotes, and the arguments."""
    found, at = list[str](), 0
    while True:
        while text[at:at + 1].isspace():
            at += 1
        if not text.startswith("--", at):
            return tuple(found), text[at:].strip()
        flag, at = _word(text, at)
        if flag == "--":
            return tuple(found), text[at:].strip()
        found.append(flag)


def _word(text: str, at: int) -> tuple[str, int]:
    """The word at ``at`` without quotes and backslashes, and where it ends."""
    made, quote = list[str](), ""
    while at < len(text):
        char = text[at]
        if not quote and char.isspace():
            break
        plain = _PLAIN.match(text, at)
        if plain:
            made.append(plain[0])
            at = plain.end()
            continue
        if char == "\\":
            at += 1
            made.append(text[at:at + 1])
        elif char == quote or (char in ("'", '"') and not quote):
            quote = "" if quote else char
        else:
            made.append(char)
        at += 1
    return "".join(made), at


def parse(flags: Iterable[str], kinds: Mapping[str, Kind]) -> Flags:
    """InvalidArgument for a flag that is none of ``kinds``, that is given twice, or whose value is none."""
    given: dict[str, list[str]] = {}
    for flag in flags:
        name, equals, value = flag[2:].partition("=")
        kind = kinds.get(name)
        if kind is None:
            raise bad(f"unknown flag: {shown(name)}{meant(name, kinds)}")
        if name in given and kind != "texts":
            raise bad(f"duplicate flag specified: {name}")
        if kind == "switch":
            value = value.lower() if equals else "true"
            if value not in ("true", "false"):
                raise bad(f"expecting boolean value for flag {name}, not: {shown(value)}" if value
                          else f"missing a value on flag: {name}")
        elif not equals:
            raise bad(f"missing a value on flag: {name}")
        given.setdefault(name, []).append(value)
    return Flags(given)
