"""The variables of a stage: its ARGs, its ENVs, and how words are read with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from buildd.dockerfile import words
from buildd.dockerfile.instructions import Arg
from pier.image.v1 import image_pb2

PROXIES: Final = frozenset(
    name for word in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY") for name in (word, word.lower())
)
"""Build arguments that commands see without an ARG, and that count for no cache key."""


@dataclass
class Scope:
    """``given`` are the client's build arguments, ``outer`` what an ARG without a default may take over: the ARGs before
    the first FROM, and the platforms. ``arguments`` are those declared so far that have a value."""

    given: Mapping[str, str]
    outer: Mapping[str, str]
    escape: str = "\\"
    arguments: dict[str, str] = field(default_factory=dict)

    def declare(self, arg: Arg, environment: Mapping[str, str]) -> None:
        """Carry an ARG out: the client's value, else the default, else what is outside has."""
        for name, default in arg.entries:
            if name in self.given:
                self.arguments[name] = self.given[name]
            elif default is not None:
                self.arguments[name] = self.expand(default, environment)
            elif name in self.outer:
                self.arguments[name] = self.outer[name]

    def variables(self, environment: Mapping[str, str]) -> dict[str, str]:
        """What ``$name`` stands for: ENV wins over ARG."""
        return {**self.arguments, **environment}

    def expand(self, word: str, environment: Mapping[str, str]) -> str:
        """One word, its variables replaced and its quotes taken off. InvalidArgument (BAD_DOCKERFILE)."""
        return words.expand(word, self.variables(environment), self.escape)

    def split(self, word: str, environment: Mapping[str, str]) -> list[str]:
        """As ``expand``, and what a variable holds may be several words."""
        return words.split(word, self.variables(environment), self.escape)

    @property
    def effective(self) -> dict[str, str]:
        """The ARGs that commands see and that count: a proxy counts where it was declared alone."""
        return dict(self.arguments)

    @property
    def proxies(self) -> dict[str, str]:
        """Those given that were not declared."""
        return {name: value for name, value in self.given.items() if name in PROXIES and name not in self.arguments}


def platform_arguments(build: image_pb2.Platform, target: image_pb2.Platform) -> dict[str, str]:
    """The ARGs that BuildKit predefines."""
    made = {}
    for prefix, platform in (("BUILD", build), ("TARGET", target)):
        words_ = [platform.os, platform.architecture, *([platform.variant] if platform.variant else [])]
        made |= {
            f"{prefix}PLATFORM": "/".join(words_), f"{prefix}OS": platform.os, f"{prefix}ARCH": platform.architecture,
            f"{prefix}VARIANT": platform.variant,
        }
    return made
