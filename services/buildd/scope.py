"""The variables of a stage as they are at one place of it, and instructions read with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from buildd.dockerfile.arguments import PROXIES
from buildd.dockerfile.errors import located
from buildd.dockerfile.expansion import expand
from buildd.dockerfile.instructions import Arg, Instruction
from pier.image.v1 import image_pb2


@dataclass
class Scope:
    """``given`` are the client's build arguments, ``outer`` what an ARG without a default may take over. ``arguments``
    are those declared so far that have a value, by this stage or one that it is built on; ``file`` is the Dockerfile's
    name, for errors."""

    given: Mapping[str, str]
    outer: Mapping[str, str]
    escape: str = "\\"
    file: str = "Dockerfile"
    arguments: dict[str, str] = field(default_factory=dict)

    def read(self, instruction: Instruction, environment: Mapping[str, str]) -> Instruction:
        """The instruction with its variables replaced: ENV wins over ARG. InvalidArgument (BAD_DOCKERFILE)."""
        with located(self.file, instruction.location):
            return expand(instruction, {**self.arguments, **environment}, self.escape).instruction

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
