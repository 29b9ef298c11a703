"""ARGs outside of stages: those before the first FROM, and those that are always there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from buildd.dockerfile.errors import located
from buildd.dockerfile.instructions import Dockerfile
from coordinator.dockerfile.expansion import Expander
from coordinator.dockerfile.words import Work

PROXIES: Final = frozenset(
    name for word in ("HTTP", "HTTPS", "FTP", "NO", "ALL") for name in (f"{word}_PROXY", f"{word.lower()}_proxy")
)
"""Build arguments that commands see without an ARG."""
PLATFORMS: Final = tuple(
    f"{side}{part}" for side in ("BUILD", "TARGET") for part in ("PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT")
)


def predefined(platforms: Mapping[str, str], given: Mapping[str, str], target: str) -> dict[str, str]:
    """``platforms`` has those of `PLATFORMS` that are known ("TARGETOS": "linux"), ``target`` is the stage's name."""
    names = {**dict.fromkeys(PLATFORMS, ""), **platforms, "TARGETSTAGE": target or "default"}
    return {name: given.get(name, value) for name, value in names.items()}


def outside(
    dockerfile: Dockerfile, given: Mapping[str, str], always: Mapping[str, str], name: str = "Dockerfile"
) -> dict[str, str]:
    """What a FROM sees, and what an ARG without a default takes over: the client's value, else the default, in which
    those before it stand, else what is ``always`` there."""
    known, work = dict(always), Work()
    for argument in dockerfile.arguments:
        with located(name, argument.location):
            by = Expander(known, dockerfile.escape, work=work)
            for key, default in argument.entries:
                if key in given:
                    known[key] = given[key]
                elif default is not None:
                    known[key] = by.word(default)
    return known
