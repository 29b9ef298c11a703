"""Instructions that change an image's config object (Docker's names: Cmd, Env, …) and nothing else."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from chassis.durations import nanoseconds
from coordinator.dockerfile.words import bad, expand, pairs, split

Config = dict[str, Any]
_SHELL: Final = ["/bin/sh", "-c"]
_PORT: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_TIMES: Final = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod",
                 "start-interval": "StartInterval"}
_OPTION: Final = re.compile(r"--([a-z-]+)=(\S+)\s*")
_PORT_MAX: Final = 65535


def apply(config: Config, instructions: Iterable[str]) -> Config:
    """A config with the instructions carried out in their order. InvalidArgument names what is wrong with one."""
    made = json.loads(json.dumps(config))
    seen = set()
    for text in instructions:
        name, _, rest = text.strip().partition(" ")
        word, rest = name.upper(), rest.strip()
        if word not in _INSTRUCTIONS:
            raise bad(f"{name[:80]} is not a valid change command")
        if not rest:
            raise bad(f"{word} requires at least one argument")
        if word == "ENTRYPOINT" and "CMD" not in seen:
            made.pop("Cmd", None)  # the image's arguments were for the entrypoint that is replaced
        seen.add(word)
        _INSTRUCTIONS[word](made, rest)
    return made  # type: ignore[no-any-return]


def _variables(config: Config) -> dict[str, str]:
    return {key: value for key, _, value in (entry.partition("=") for entry in config.get("Env") or ())}


def _list(text: str) -> list[str] | None:
    """The words of a JSON array of strings, None where it is something else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) and all(isinstance(item, str) for item in found) else None


def _command(key: str) -> Callable[[Config, str], None]:
    def set_(config: Config, text: str) -> None:
        words = _list(text)
        config[key] = words if words is not None else [*(config.get("Shell") or _SHELL), text]

    return set_


def _env(config: Config, text: str) -> None:
    entries = {entry.partition("=")[0]: entry for entry in config.get("Env") or ()}
    for key, value in pairs(text, _variables(config)):
        entries[key] = f"{key}={value}"
    config["Env"] = list(entries.values())


def _label(config: Config, text: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **dict(pairs(text, _variables(config)))}


def _expose(config: Config, text: str) -> None:
    ports = dict(config.get("ExposedPorts") or {})
    for word in split(text, _variables(config)):
        match = _PORT.fullmatch(word)
        first = int(match[1]) if match else 0
        last = int(match[2]) if match and match[2] else first
        if match is None or not 1 <= first <= last <= _PORT_MAX:
            raise bad(f"Invalid containerPort: {word[:80]}")
        ports.update((f"{port}/{(match[3] or 'tcp').lower()}", {}) for port in range(first, last + 1))
    config["ExposedPorts"] = ports


def _volume(config: Config, text: str) -> None:
    words = _list(text)
    targets = words if words is not None else split(text, _variables(config))
    if not all(target.strip() for target in targets):
        raise bad("VOLUME specified can not be an empty string")
    config["Volumes"] = {**(config.get("Volumes") or {}), **{target: {} for target in targets}}


def _user(config: Config, text: str) -> None:
    config["User"] = expand(text, _variables(config))


def _workdir(config: Config, text: str) -> None:
    wanted = expand(text, _variables(config))
    config["WorkingDir"] = posixpath.normpath(posixpath.join("/", config.get("WorkingDir") or "/", wanted))


def _stop_signal(config: Config, text: str) -> None:
    config["StopSignal"] = expand(text, _variables(config))


def _onbuild(config: Config, text: str) -> None:
    trigger = text.split(None, 1)[0].upper()
    if trigger == "ONBUILD":
        raise bad("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("FROM", "MAINTAINER"):
        raise bad(f"{trigger} isn't allowed as an ONBUILD trigger")
    config["OnBuild"] = [*(config.get("OnBuild") or ()), text]


def _healthcheck(config: Config, text: str) -> None:
    check: dict[str, Any] = {}
    while match := _OPTION.match(text):
        name, value = match[1], match[2]
        if name == "retries" and value.isdecimal():
            check["Retries"] = int(value)
        elif name in _TIMES:
            try:
                check[_TIMES[name]] = nanoseconds(value)
            except ValueError as error:
                raise bad(f"HEALTHCHECK: --{name}: {error}") from error
        else:
            raise bad(f"HEALTHCHECK: unknown flag or value: --{name}={value[:80]}")
        text = text[match.end():]
    kind, _, command = text.partition(" ")
    command = command.strip()
    if kind.upper() == "NONE" and not command and not check:
        config["Healthcheck"] = {"Test": ["NONE"]}
        return
    if kind.upper() != "CMD" or not command:
        raise bad(f"Unknown type {kind[:80]!r} in HEALTHCHECK (try CMD)" if kind.upper() != "CMD"
                  else "Missing command after HEALTHCHECK CMD")
    words = _list(command)
    config["Healthcheck"] = {"Test": ["CMD", *words] if words is not None else ["CMD-SHELL", command], **check}


_INSTRUCTIONS: Final[dict[str, Callable[[Config, str], None]]] = {
    "CMD": _command("Cmd"), "ENTRYPOINT": _command("Entrypoint"), "ENV": _env, "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck, "LABEL": _label, "ONBUILD": _onbuild, "STOPSIGNAL": _stop_signal, "USER": _user,
    "VOLUME": _volume, "WORKDIR": _workdir,
}
