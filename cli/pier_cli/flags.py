"""Flags as docker parses them: what a command accepts is a tuple of ``Flag``, parsed into ``Options``.

``--name value``, ``--name=value``, ``-n value``, ``-nvalue``, ``-n=value`` and joined short booleans (``-it``). A
boolean takes a value only after "=". ``--`` ends the flags. With ``interspersed`` false the first argument ends them
too, so that ``run IMAGE ls -l`` hands ``-l`` on.
"""

from __future__ import annotations

from pier_cli.failure import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")
_REPEATED = ("list", "filter", "map", "strings", "ulimit", "mount", "network")


class Flag:
    """One flag.

    ``kind`` is the word that help shows for its value (``string``, ``list``, ``bytes`` …) and decides how values are
    read; "bool" takes none. Kinds of many values append. ``check`` turns the text into the value, raising ValueError
    with docker's words.
    """

    __slots__ = ("check", "default", "help", "kind", "long", "short")

    def __init__(
        self,
        long: str,
        short: str = "",
        kind: str = "bool",
        help: str = "",  # noqa: A002 - the word of the thing
        default: Any = None,
        check: Callable[[str], Any] | None = None,
    ) -> None:
        self.long = long
        self.short = short
        self.kind = kind
        self.help = help
        self.default = default
        self.check = check

    @property
    def repeated(self) -> bool:
        return self.kind in _REPEATED

    @property
    def shown(self) -> str:
        return f"-{self.short}, --{self.long}" if self.short else f"--{self.long}"


class Options:
    """Parsed flags. ``given`` tells a value of the user's from a default."""

    __slots__ = ("_given", "_values")

    def __init__(self, flags: Sequence[Flag]) -> None:
        self._values: dict[str, Any] = {}
        self._given: set[str] = set()
        for flag in flags:
            if flag.repeated:
                self._values[flag.long] = []
            elif flag.default is not None:
                self._values[flag.long] = flag.default
            else:
                self._values[flag.long] = {"bool": False, "int": 0, "bytes": 0, "duration": 0}.get(flag.kind, "")

    def put(self, flag: Flag, value: Any) -> None:
        self._given.add(flag.long)
        if flag.repeated:
            self._values[flag.long].append(value)
        else:
            self._values[flag.long] = value

    def given(self, name: str) -> bool:
        return name in self._given

    def flag(self, name: str) -> bool:
        return bool(self._values[name])

    def text(self, name: str) -> str:
        return str(self._values[name])

    def number(self, name: str) -> int:
        return int(self._values[name])

    def items(self, name: str) -> list[Any]:
        """All values of a repeated flag, in their order."""
        values: list[Any] = self._values[name]
        return values


def parse_bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def parse_int(text: str) -> int:
    sign = text[1:] if text[:1] in ("-", "+") else text
    if not (sign.isascii() and sign.isdigit()):
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    value = int(text)
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def _filter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError("bad format of filter (expected name=value)")
    return name.strip().lower(), value.strip()


def _bytes(text: str) -> int:
    from pier_cli.units import parse_bytes

    return parse_bytes(text)


def _duration(text: str) -> int:
    from pier_cli.units import parse_duration

    return parse_duration(text)


def _map(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


_READERS: dict[str, Callable[[str], Any]] = {
    "bool": parse_bool, "int": parse_int, "filter": _filter, "bytes": _bytes, "duration": _duration, "map": _map,
}


def _store(options: Options, flag: Flag, text: str) -> None:
    reader = flag.check or _READERS.get(flag.kind)
    try:
        if flag.kind == "strings":
            for part in text.split(","):
                options.put(flag, reader(part) if reader else part)
        else:
            options.put(flag, reader(text) if reader else text)
    except ValueError as error:
        raise UsageError(f'invalid argument "{text}" for "{flag.shown}" flag: {error}') from None


class Help(Exception):
    """``--help`` was asked for."""


def parse(
    flags: Sequence[Flag], arguments: Sequence[str], interspersed: bool = True, help_short: bool = False
) -> tuple[Options, list[str]]:
    """Options and the arguments that are no flags. UsageError for what is wrong, Help where it was asked for.

    ``help_short`` gives ``-h`` the meaning of ``--help`` where no flag has that letter.
    """
    longs = {flag.long: flag for flag in flags}
    shorts = {flag.short: flag for flag in flags if flag.short}
    options = Options(flags)
    rest: list[str] = []
    position = 0
    while position < len(arguments):
        word = arguments[position]
        position += 1
        if len(word) < 2 or word[0] != "-":
            if not interspersed:
                rest.append(word)
                rest.extend(arguments[position:])
                break
            rest.append(word)
        elif word == "--":
            rest.extend(arguments[position:])
            break
        elif word.startswith("--"):
            position = _long(options, longs, word, arguments, position)
        else:
            position = _short(options, shorts, word, arguments, position, help_short)
    return options, rest


def _long(options: Options, longs: dict[str, Flag], word: str, arguments: Sequence[str], position: int) -> int:
    name, equals, value = word[2:].partition("=")
    if not name or name[0] in "-=":
        raise UsageError(f"bad flag syntax: {word}")
    flag = longs.get(name)
    if flag is None:
        if name == "help":
            raise Help
        raise UsageError(f"unknown flag: --{name}")
    if equals:
        _store(options, flag, value)
    elif flag.kind == "bool":
        options.put(flag, True)
    elif position < len(arguments):
        _store(options, flag, arguments[position])
        return position + 1
    else:
        raise UsageError(f"flag needs an argument: --{name}")
    return position


def _short(
    options: Options, shorts: dict[str, Flag], word: str, arguments: Sequence[str], position: int, help_short: bool
) -> int:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = shorts.get(letter)
        if flag is None:
            if letter == "h" and help_short:
                raise Help
            raise UsageError(f"unknown shorthand flag: '{letter}' in {word}")
        if len(letters) > 1 and letters[0] == "=":
            _store(options, flag, letters[1:])
            return position
        if flag.kind == "bool":
            options.put(flag, True)
            continue
        if letters:
            _store(options, flag, letters)
            return position
        if position < len(arguments):
            _store(options, flag, arguments[position])
            return position + 1
        raise UsageError(f"flag needs an argument: '{letter}' in {word}")
    return position
