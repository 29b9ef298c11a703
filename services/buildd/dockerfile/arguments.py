"""ARGs outside of stages: those before the first FROM, and those that are always there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from buildd.dockerfile.errors import located
from buildd.dockerfile.instructions import Arg, Dockerfile
from coordinator.dockerfile.expansion import Expander
from coordinator.dockerfile.words import Work

PROXIES: Final = frozenset(
    name for word in ("HTTP", "HTTPS", "FTP", "NO", "ALL") for name in (f"{word}_PROXY", f"{word.lower()}_proxy")
)
"""Build arguments that commands see without an ARG."""
PLATFORMS: Final = tuple(
    f"{side}{part}" for side in ("BUILD", "TARGET") for part in ("PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT")
)
_OF_THE_BUILD: Final = ("TARGETSTAGE", "SOURCE_DATE_EPOCH")
_BUILDKIT: Final = "BUILDKIT_"


def predefined(platforms: Mapping[str, str], given: Mapping[str, str], target: str) -> dict[str, str]:
    """``platforms`` has those of `PLATFORMS` that are known ("TARGETOS": "linux"), ``target`` is the stage's name."""
    names = {**dict.fromkeys(PLATFORMS, ""), **platforms, "TARGETSTAGE": target or "default"}
    return {name: given.get(name, value) for name, value in names.items()}


def unconsumed(dockerfile: Dockerfile, given: Iterable[str]) -> list[str]:
    """Of the build arguments that were ``given``, those that no ARG declares and that mean nothing by themselves."""
    declared = {key for argument in dockerfile.arguments for key, _ in argument.entries}
    for stage in dockerfile.stages:
        declared |= {key for step in stage.steps if isinstance(step, Arg) for key, _ in step.entries}
    known = declared | PROXIES | {*PLATFORMS, *_OF_THE_BUILD}
    return sorted(name for name in given if name not in known and not name.startswith(_BUILDKIT))


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
