"""Instructions that change an image's configuration and no file."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec.structs import replace

from buildd.config import Config, Health
from buildd.dockerfile import instructions as df
from buildd.scope import Scope
from chassis.errors import InvalidArgument

_PORT: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_PORT_MAX: Final = 65535


def bad(instruction: df.Instruction, message: str) -> InvalidArgument:
    """An error of the Dockerfile's, with its line."""
    line = instruction.location.first
    return InvalidArgument(f"dockerfile line {line}: {message}", reason="BAD_DOCKERFILE", facts={"line": str(line)})


def is_configuration(instruction: df.Instruction) -> bool:
    """It changes no file (WORKDIR does, beside its setting)."""
    return type(instruction) in _APPLY


def apply(config: Config, instruction: df.Instruction, scope: Scope) -> tuple[Config, str]:
    """The configuration after ``instruction``, and the instruction with its variables replaced."""
    return _APPLY[type(instruction)](config, instruction, scope)


def _env(config: Config, step: df.Env, scope: Scope) -> tuple[Config, str]:
    before = config.variables
    found = [(scope.expand(name, before), scope.expand(value, before)) for name, value in step.entries]
    for name, _ in found:
        if not name:
            raise bad(step, "ENV names can not be blank")
    entries = {name: f"{name}={value}" for name, value in before.items()} | {
        name: f"{name}={value}" for name, value in found}
    return replace(config, env=list(entries.values())), f"ENV {_pairs(found)}"


def _label(config: Config, step: df.Label, scope: Scope) -> tuple[Config, str]:
    before = config.variables
    found = [(scope.expand(name, before), scope.expand(value, before)) for name, value in step.entries]
    for name, _ in found:
        if not name:
            raise bad(step, "LABEL names can not be blank")
    return replace(config, labels={**(config.labels or {}), **dict(found)}), f"LABEL {_pairs(found)}"


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return " ".join(f"{name}={value}" for name, value in pairs)


def command(config: Config, given: df.Command) -> list[str]:
    """What is run: the words, or the text for the stage's shell."""
    return list(given.words) if given.words is not None else [*config.command_shell, given.shell]


def _cmd(config: Config, step: df.Cmd, scope: Scope) -> tuple[Config, str]:
    words = command(config, step.command)
    return replace(config, cmd=words, args_escaped=False), f"CMD {_json(words)}"


def _entrypoint(config: Config, step: df.Entrypoint, scope: Scope) -> tuple[Config, str]:
    words = command(config, step.command)
    return replace(config, entrypoint=words), f"ENTRYPOINT {_json(words)}"


def _shell(config: Config, step: df.Shell, scope: Scope) -> tuple[Config, str]:
    return replace(config, shell=list(step.words)), f"SHELL {_json(step.words)}"


def _json(words: Iterable[str]) -> str:
    """As Docker's history has it: quoted words with a space between."""
    quoted = ['"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in words]
    return f"[{' '.join(quoted)}]"


def _expose(config: Config, step: df.Expose, scope: Scope) -> tuple[Config, str]:
    ports: dict[str, dict[str, Any] | None] = dict(config.exposed_ports or {})
    named = [word for text in step.ports for word in scope.split(text, config.variables)]
    for word in named:
        match = _PORT.fullmatch(word)
        first = int(match[1]) if match else 0
        last = int(match[2]) if match and match[2] else first
        if match is None or not 1 <= first <= last <= _PORT_MAX:
            raise bad(step, f"Invalid containerPort: {word[:80]}")
        ports.update((f"{port}/{(match[3] or 'tcp').lower()}", {}) for port in range(first, last + 1))
    return replace(config, exposed_ports=ports), f"EXPOSE {' '.join(named)}"


def _volume(config: Config, step: df.Volume, scope: Scope) -> tuple[Config, str]:
    paths = [scope.expand(path, config.variables) for path in step.paths]
    if not all(path.strip() for path in paths):
        raise bad(step, "VOLUME specified can not be an empty string")
    volumes: dict[str, dict[str, Any] | None] = {**(config.volumes or {}), **{path: {} for path in paths}}
    return replace(config, volumes=volumes), f"VOLUME [{' '.join(paths)}]"


def _user(config: Config, step: df.User, scope: Scope) -> tuple[Config, str]:
    user = scope.expand(step.user, config.variables)
    if not user:
        raise bad(step, "USER requires a user")
    return replace(config, user=user), f"USER {user}"


def _stop_signal(config: Config, step: df.StopSignal, scope: Scope) -> tuple[Config, str]:
    signal = scope.expand(step.signal, config.variables)
    return replace(config, stop_signal=signal), f"STOPSIGNAL {signal}"


def _healthcheck(config: Config, step: df.Healthcheck, scope: Scope) -> tuple[Config, str]:
    if step.command is None:
        return replace(config, healthcheck=Health(test=["NONE"])), "HEALTHCHECK NONE"
    words = ["CMD-SHELL", step.command.shell] if step.command.words is None else ["CMD", *step.command.words]
    check = Health(words, step.interval, step.timeout, step.start_period, step.start_interval, step.retries)
    return replace(config, healthcheck=check), step.original


def _on_build(config: Config, step: df.OnBuild, scope: Scope) -> tuple[Config, str]:
    return replace(config, on_build=[*(config.on_build or ()), step.trigger]), f"ONBUILD {step.trigger}"


def _arg(config: Config, step: df.Arg, scope: Scope) -> tuple[Config, str]:
    scope.declare(step, config.variables)
    shown = [name if default is None else f"{name}={default}" for name, default in step.entries]
    return config, f"ARG {' '.join(shown)}"


def _maintainer(config: Config, step: df.Maintainer, scope: Scope) -> tuple[Config, str]:
    return config, f"MAINTAINER {step.author}"


def working_directory(config: Config, step: df.Workdir, scope: Scope) -> str:
    """The absolute path that a WORKDIR means."""
    wanted = scope.expand(step.path, config.variables)
    if not wanted:
        raise bad(step, "WORKDIR requires a path")
    found = posixpath.normpath(posixpath.join("/", config.working_dir or "/", wanted))
    return found[1:] if found.startswith("//") else found


_APPLY: Final[dict[type[df.Instruction], Callable[[Config, Any, Scope], tuple[Config, str]]]] = {
    df.Env: _env, df.Label: _label, df.Cmd: _cmd, df.Entrypoint: _entrypoint, df.Shell: _shell, df.Expose: _expose,
    df.Volume: _volume, df.User: _user, df.StopSignal: _stop_signal, df.Healthcheck: _healthcheck, df.OnBuild: _on_build,
    df.Arg: _arg, df.Maintainer: _maintainer,
}
