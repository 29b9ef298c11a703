"""Instructions as far as they change an image's configuration, and what history says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from buildd.config import Config
from buildd.dockerfile import instructions as df
from buildd.dockerfile.errors import at, located
from chassis.errors import InvalidArgument
from coordinator.dockerfile.config import ConfigBuilder


def bad(step: df.Instruction, message: str, file: str = "Dockerfile") -> InvalidArgument:
    """An error of the Dockerfile's, with its line."""
    return at(file, step.location, message)


def apply(config: Config, step: df.Instruction, file: str, *, command_given: bool = False) -> Config:
    """The configuration after ``step``, whose variables have been replaced; ``command_given``: its stage has had a CMD
    of its own. InvalidArgument (BAD_DOCKERFILE)."""
    builder = ConfigBuilder(msgspec.to_builtins(config), command_given=command_given)
    with located(file, step.location):
        builder.carry_out(step)
    return msgspec.convert(builder.config, Config)


def command(config: Config, given: df.Command) -> list[str]:
    """What is run: the words, or the text for the stage's shell."""
    return list(given.words) if given.words is not None else [*config.command_shell, given.shell]


def text(config: Config, step: df.Instruction) -> str:
    """The instruction with its variables replaced, as Docker's history has it."""
    show = _SHOWN.get(type(step))
    return show(config, step) if show else step.original


def _pairs(entries: Iterable[tuple[str, str]]) -> str:
    return " ".join(f"{name}={value}" for name, value in entries)


def _list(words: Iterable[str]) -> str:
    quoted = ['"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in words]
    return f"[{' '.join(quoted)}]"


_SHOWN: Final[dict[type[df.Instruction], Callable[[Config, Any], str]]] = {
    df.Env: lambda _, step: f"ENV {_pairs(step.entries)}",
    df.Label: lambda _, step: f"LABEL {_pairs(step.entries)}",
    df.Cmd: lambda config, step: f"CMD {_list(command(config, step.command))}",
    df.Entrypoint: lambda config, step: f"ENTRYPOINT {_list(command(config, step.command))}",
    df.Shell: lambda _, step: f"SHELL [{' '.join(step.words)}]",
    df.Expose: lambda _, step: f"EXPOSE {' '.join(step.ports)}",
    df.Volume: lambda _, step: f"VOLUME [{' '.join(step.paths)}]",
    df.User: lambda _, step: f"USER {step.user}",
    df.StopSignal: lambda _, step: f"STOPSIGNAL {step.signal}",
    df.OnBuild: lambda _, step: f"ONBUILD {step.trigger}",
    df.Maintainer: lambda _, step: f"MAINTAINER {step.author}",
    df.Arg: lambda _, step: "ARG " + " ".join(
        name if default is None else f"{name}={default}" for name, default in step.entries),
}
