"""An image's config object (Docker's names: Cmd, Env, …) and what instructions change in it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from chassis import signals
from chassis.errors import InvalidArgument
from coordinator.dockerfile.errors import bad, shown
from coordinator.dockerfile.expansion import Expander, expand
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
from coordinator.dockerfile.statement import PARSERS, statement

Config = dict[str, Any]
SHELL: Final = ("/bin/sh", "-c")
"""Of an image that names none."""
_PORT: Final = re.compile(r"(?:(?:(?:\[[0-9a-f:.]+\]|[0-9a-f:.]*):)?[0-9-]*:)?([0-9]{1,5})(?:-([0-9]{1,5}))?"
                          r"(?:/(tcp|udp|sctp)?)?", re.IGNORECASE)
_PORT_MAX: Final = 65535
_RANGES_MAX: Final = 1024
_LONGEST: Final = 4 << 20
"""Characters of an image's environment, and of its labels: each step may double them."""
_CHANGES: Final = frozenset(PARSERS) - {"SHELL"}
"""What `commit --change` takes."""


def apply(config: Config, instructions: Iterable[str]) -> Config:
    """A config with the instructions carried out in their order. InvalidArgument names what is wrong with one."""
    builder = ConfigBuilder(config)
    for text in instructions:
        try:
            _apply(builder, text)
        except InvalidArgument as error:
            raise InvalidArgument(error.message, reason=error.reason, field="changes") from error
    return builder.config


def _apply(builder: ConfigBuilder, text: str) -> None:
    if not text.strip():
        raise bad("an empty text is not a valid change command")
    given = statement(text, Location(1, 1))
    if given.keyword not in _CHANGES:
        raise bad(f"{shown(given.name)} is not a valid change command")
    builder.carry_out(expand(PARSERS[given.keyword](given), Expander(builder.variables())))


class ConfigBuilder:
    """One image's config while the instructions of one stage change it. ``config`` is its own, and as the last
    instruction left it. ``command_given``: the stage has had a CMD, which an ENTRYPOINT then leaves."""

    def __init__(self, config: Config, *, command_given: bool = False) -> None:
        self.config: Config = dict(config)  # what stands in it is replaced, never changed: stages share it
        self._command_given = command_given

    def variables(self) -> dict[str, str]:
        """The environment."""
        return {key: value for key, _, value in (entry.partition("=") for entry in self.config.get("Env") or ())}

    def shell(self) -> list[str]:
        """What runs a command that is given as a text."""
        return list(self.config.get("Shell") or SHELL)

    def carry_out(self, instruction: Instruction) -> None:
        """``instruction``'s variables have been replaced. One that changes no config does nothing here.
        InvalidArgument for a port, name or signal that is none."""
        change = _CARRIED_OUT.get(type(instruction))
        if change is not None:
            change(self, instruction)

    def _cmd(self, given: Cmd) -> None:
        self.config["Cmd"] = self._words(given.command)
        self._command_given = True

    def _entrypoint(self, given: Entrypoint) -> None:
        self.config["Entrypoint"] = self._words(given.command)
        if not self._command_given:
            self.config.pop("Cmd", None)  # the image's arguments were for the entrypoint that is replaced

    def _words(self, command: Command) -> list[str]:
        return [*self.shell(), command.shell] if command.words is None else list(command.words)

    def _env(self, given: Env) -> None:
        entries = {entry.partition("=")[0]: entry for entry in self.config.get("Env") or ()}
        for key, value in _named("ENV", given.entries):
            entries[key] = f"{key}={value}"
        _bounded("environment", entries.values())
        self.config["Env"] = list(entries.values())

    def _label(self, given: Label) -> None:
        labels = {**(self.config.get("Labels") or {}), **dict(_named("LABEL", given.entries))}
        _bounded("labels", (*labels, *labels.values()))
        self.config["Labels"] = labels

    def _expose(self, given: Expose) -> None:
        self.config["ExposedPorts"] = {
            **(self.config.get("ExposedPorts") or {}), **{key: {} for key in ports(given.ports)},
        }

    def _volume(self, given: Volume) -> None:
        if not all(path.strip() for path in given.paths):
            raise bad("VOLUME specified can not be an empty string")
        self.config["Volumes"] = {**(self.config.get("Volumes") or {}), **{path: {} for path in given.paths}}

    def _user(self, given: User) -> None:
        self.config["User"] = given.user

    def _workdir(self, given: Workdir) -> None:
        joined = posixpath.join("/", self.config.get("WorkingDir") or "/", given.path)
        self.config["WorkingDir"] = "/" + posixpath.normpath(joined).lstrip("/")

    def _stop_signal(self, given: StopSignal) -> None:
        signals.parse(given.signal, 0, "instruction")
        self.config["StopSignal"] = given.signal

    def _shell(self, given: Shell) -> None:
        self.config["Shell"] = list(given.words)

    def _on_build(self, given: OnBuild) -> None:
        self.config["OnBuild"] = [*(self.config.get("OnBuild") or ()), given.trigger]

    def _healthcheck(self, given: Healthcheck) -> None:
        if given.command is None:
            self.config["Healthcheck"] = {"Test": ["NONE"]}
            return
        words = given.command.words
        times = {
            "Interval": given.interval, "Timeout": given.timeout, "StartPeriod": given.start_period,
            "StartInterval": given.start_interval, "Retries": given.retries,
        }
        self.config["Healthcheck"] = {
            "Test": ["CMD-SHELL", given.command.shell] if words is None else ["CMD", *words],
            **{name: value for name, value in times.items() if value},
        }


_CARRIED_OUT: Final[dict[type[Instruction], Callable[[ConfigBuilder, Any], None]]] = {
    Cmd: ConfigBuilder._cmd, Entrypoint: ConfigBuilder._entrypoint, Env: ConfigBuilder._env,
    Expose: ConfigBuilder._expose, Healthcheck: ConfigBuilder._healthcheck, Label: ConfigBuilder._label,
    OnBuild: ConfigBuilder._on_build, Shell: ConfigBuilder._shell, StopSignal: ConfigBuilder._stop_signal,
    User: ConfigBuilder._user, Volume: ConfigBuilder._volume, Workdir: ConfigBuilder._workdir,
}


def _named(keyword: str, entries: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    if not all(key for key, _ in entries):
        raise bad(f"{keyword} names can not be blank")
    return entries


def _bounded(what: str, texts: Iterable[str]) -> None:
    if sum(map(len, texts)) > _LONGEST:
        raise bad(f"the image's {what} would have more than {_LONGEST} characters")


def ports(words: Iterable[str]) -> list[str]:
    """Each port of ``8000-8002/udp`` and the like as Docker writes it ("8000/udp"). What would publish it
    (``127.0.0.1:80:``) has no effect. InvalidArgument."""
    found = dict[str, None]()
    ranges = set[tuple[int, int, str]]()
    for word in words:
        match = _PORT.fullmatch(word)
        first = int(match[1]) if match else 0
        last = int(match[2]) if match and match[2] else first
        if match is None or not 1 <= first <= last <= _PORT_MAX:
            raise bad(f"invalid containerPort: {shown(word)}")
        protocol = (match[3] or "tcp").lower()
        if (first, last, protocol) not in ranges:
            ranges.add((first, last, protocol))
            found.update(dict.fromkeys(f"{port}/{protocol}" for port in range(first, last + 1)))
        if len(ranges) > _RANGES_MAX:
            raise bad("EXPOSE names too many ports")
    return list(found)
