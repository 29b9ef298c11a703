"""One instruction's text, taken apart as far as all are alike, and the parsers of those that change a config.

Source of rules and messages: BuildKit's frontend/dockerfile/parser and frontend/dockerfile/instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chassis.durations import nanoseconds
from coordinator.dockerfile import flags, forms
from coordinator.dockerfile.errors import bad, shown
from coordinator.dockerfile.instructions import (
    Cmd,
    Command,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Location,
    OnBuild,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)

BLANKS: Final = " \t\v\f\r\n\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200b)))
"""Unicode's, as Go has them: what is taken off a line's ends."""
_LEAST_TIME: Final = 1_000_000
"""Nanoseconds that a health check's time has at least, if it is given."""
_RETRIES_MAX: Final = 2**31 - 1
_TIMES: Final = ("interval", "timeout", "start-period", "start-interval")


@dataclass(frozen=True)
class Statement:
    """``name`` as it is spelt, ``arguments`` without the flags."""

    location: Location
    original: str
    name: str
    flags: tuple[str, ...]
    arguments: str
    escape: str

    @property
    def keyword(self) -> str:
        return self.name.upper()

    def only(self) -> str:
        """The arguments, which are one; InvalidArgument where there is none."""
        if not self.arguments:
            raise bad(f"{self.keyword} requires exactly one argument")
        return self.arguments

    def some(self) -> str:
        if not self.arguments:
            raise bad(f"{self.keyword} requires at least one argument")
        return self.arguments

    def no_flags(self) -> None:
        flags.parse(self.flags, {})


Parser = Callable[[Statement], Instruction]


def statement(text: str, location: Location, escape: str = "\\") -> Statement:
    """``text`` is one instruction, its lines joined."""
    name, *rest = forms.BLANK.split(text.strip(BLANKS), maxsplit=1)
    given, arguments = flags.divided(rest[0]) if rest else ((), "")
    return Statement(location, text.strip(BLANKS), name, given, arguments, escape)


def _env(given: Statement) -> Env:
    given.no_flags()
    return Env(given.location, given.original, forms.pairs("ENV", given.arguments, given.escape))


def _label(given: Statement) -> Label:
    given.no_flags()
    return Label(given.location, given.original, forms.pairs("LABEL", given.arguments, given.escape))


def _cmd(given: Statement) -> Cmd:
    given.no_flags()
    return Cmd(given.location, given.original, forms.command(given.some()))


def _entrypoint(given: Statement) -> Entrypoint:
    given.no_flags()
    return Entrypoint(given.location, given.original, forms.command(given.some()))


def _shell(given: Statement) -> Shell:
    given.no_flags()
    words = forms.array(given.some())
    if words is None:
        raise bad(f"SHELL requires the arguments to be in JSON form, not {shown(given.original)!r}")
    if not words:
        raise bad("SHELL requires at least one argument")
    return Shell(given.location, given.original, words)


def _expose(given: Statement) -> Expose:
    ports = forms.blank_divided(given.some())
    given.no_flags()
    return Expose(given.location, given.original, tuple(sorted(ports)))


def _volume(given: Statement) -> Volume:
    paths = tuple(path.strip() for path in forms.list_(given.some()))
    given.no_flags()
    if not paths:
        raise bad("VOLUME requires at least one argument")
    if not all(paths):
        raise bad("VOLUME specified can not be an empty string")
    return Volume(given.location, given.original, paths)


def _user(given: Statement) -> User:
    user = given.only()
    given.no_flags()
    return User(given.location, given.original, user)


def _workdir(given: Statement) -> Workdir:
    path = given.only()
    given.no_flags()
    return Workdir(given.location, given.original, path)


def _stop_signal(given: Statement) -> StopSignal:
    signal = given.only()
    given.no_flags()
    return StopSignal(given.location, given.original, signal)


def _healthcheck(given: Statement) -> Healthcheck:
    kind, *rest = forms.BLANK.split(given.some(), maxsplit=1)
    if kind.upper() == "NONE":
        if rest:
            raise bad("HEALTHCHECK NONE takes no arguments")
        given.no_flags()
        return Healthcheck(given.location, given.original, None)
    options = flags.parse(given.flags, dict.fromkeys((*_TIMES, "retries"), "text"))
    if kind.upper() != "CMD":
        raise bad(f"Unknown type {shown(kind)!r} in HEALTHCHECK (try CMD)")
    command = forms.command(rest[0]) if rest else Command(())
    if not command.words and not command.shell:
        raise bad("Missing command after HEALTHCHECK CMD")
    interval, timeout, start_period, start_interval = (_time(name, options.text(name)) for name in _TIMES)
    return Healthcheck(given.location, given.original, command, interval, timeout, start_period, start_interval,
                       _retries(options.text("retries")))


def _time(name: str, text: str) -> int:
    try:
        found = nanoseconds(text) if text and text != "0" else 0
    except ValueError as error:
        raise bad(f"HEALTHCHECK: --{name}: {error}") from error
    if 0 < found < _LEAST_TIME:
        raise bad(f"Interval {name!r} cannot be less than 1ms")
    return found


def _retries(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.lstrip("+-").isdecimal() and len(text) < 12 and abs(int(text)) <= _RETRIES_MAX):
        raise bad(f"HEALTHCHECK: --retries: {shown(text)!r} is not a number")
    if int(text) < 0:
        raise bad(f"--retries cannot be negative ({int(text)})")
    return int(text)


def on_build(given: Statement, heredocs: str = "") -> OnBuild:
    """``heredocs``: the lines of the trigger's, which are kept with it."""
    trigger = given.some()
    given.no_flags()
    keyword = trigger.split(None, 1)[0].upper()
    if keyword == "ONBUILD":
        raise bad("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if keyword in ("FROM", "MAINTAINER"):
        raise bad(f"{keyword} isn't allowed as an ONBUILD trigger")
    return OnBuild(given.location, given.original, trigger + heredocs)


PARSERS: Final[dict[str, Parser]] = {
    "CMD": _cmd, "ENTRYPOINT": _entrypoint, "ENV": _env, "EXPOSE": _expose, "HEALTHCHECK": _healthcheck,
    "LABEL": _label, "ONBUILD": on_build, "SHELL": _shell, "STOPSIGNAL": _stop_signal, "USER": _user,
    "VOLUME": _volume, "WORKDIR": _workdir,
}
