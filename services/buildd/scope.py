"""The variables of a stage as they are at one place of it, and instructions read with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from buildd.dockerfile.arguments import PROXIES
from buildd.dockerfile.errors import located
from buildd.dockerfile.expansion import expand
from buildd.dockerfile.instructions import Arg, Instruction
from coordinator.dockerfile.words import Work
from pier.image.v1 import image_pb2


@dataclass
class Scope:
    """``given`` are the client's build arguments, ``outer`` what an ARG without a default may take over. ``arguments``
    are those declared so far that have a value, by this stage or one that it is built on; ``file`` is the Dockerfile's
    name, for errors, ``work`` what all stages have left to spend on variables."""

    given: Mapping[str, str]
    outer: Mapping[str, str]
    escape: str = "\\"
    file: str = "Dockerfile"
    arguments: dict[str, str] = field(default_factory=dict)
    work: Work = field(default_factory=Work)

    def read(self, instruction: Instruction, environment: Mapping[str, str]) -> Instruction:
        """The instruction with its variables replaced: ENV wins over ARG. A default that the client's value takes the
        place of is not read. InvalidArgument (BAD_DOCKERFILE)."""
        variables = {**self.arguments, **environment}
        with located(self.file, instruction.location):
            if not isinstance(instruction, Arg):
                return expand(instruction, variables, self.escape, self.work).instruction
            return replace(instruction, entries=tuple(self._defaults(instruction, variables)))

    def _defaults(self, arg: Arg, variables: dict[str, str]) -> Iterator[tuple[str, str | None]]:
        """Names with their defaults read, each of which sees what those before it have become."""
        for name, default in arg.entries:
            value = self.given.get(name)
            if value is None and default is not None:
                one = expand(replace(arg, entries=((name, default),)), variables, self.escape, self.work).instruction
                assert isinstance(one, Arg)
                value = one.entries[0][1]
                yield name, value
            else:
                value = self.outer.get(name) if value is None else value
                yield name, default
            if value is not None:
                variables[name] = value

    def declare(self, arg: Arg) -> None:
        """Carry an ARG out, its defaults read already: the client's value, else the default, else what is outside."""
        for name, default in arg.entries:
            if name in self.given:
                self.arguments[name] = self.given[name]
            elif default is not None:
                self.arguments[name] = default
            elif name in self.outer:
                self.arguments[name] = self.outer[name]

    @property
    def proxies(self) -> dict[str, str]:
        """Those given that were not declared: commands see them, and they count for no key."""
        return {name: value for name, value in self.given.items() if name in PROXIES and name not in self.arguments}


def platform_arguments(build: image_pb2.Platform, target: image_pb2.Platform) -> dict[str, str]:
    """The values of the ARGs that BuildKit predefines."""
    made: dict[str, str] = {}
    for prefix, platform in (("BUILD", build), ("TARGET", target)):
        words = [platform.os, platform.architecture, *([platform.variant] if platform.variant else [])]
        made |= {
            f"{prefix}PLATFORM": "/".join(words), f"{prefix}OS": platform.os, f"{prefix}ARCH": platform.architecture,
            f"{prefix}VARIANT": platform.variant,
        }
    return made
