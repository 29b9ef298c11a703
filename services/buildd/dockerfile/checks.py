"""Build checks of a file: its spelling and its FROMs, and those of each stage that is needed (`stage_checks`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from buildd.dockerfile import arguments, stage_checks
from buildd.dockerfile.graph import Graph
from buildd.dockerfile.instructions import Arg, Dockerfile, Finding, From, Instruction, Location, Maintainer
from buildd.dockerfile.rules import Options, Report
from buildd.dockerfile.stage_checks import Base
from chassis.errors import InvalidArgument
from chassis.spelling import meant
from coordinator.dockerfile.expansion import Expander
from coordinator.dockerfile.statement import statement

_RESERVED: Final = ("context", "scratch")
_TARGET: Final = "TARGETPLATFORM"
_COMPONENT: Final = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE: Final = re.compile(
    rf"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/|\[[0-9a-fA-F:]+\](?::[0-9]+)?/)?{_COMPONENT}(?:/{_COMPONENT})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[a-z0-9+._-]+:[0-9a-fA-F]{32,})?")
_REFERENCE_MAX: Final = 1024


def check(
    dockerfile: Dockerfile, graph: Graph, which: Options, given: Mapping[str, str] | None = None,
    bases: Mapping[str, Base] | None = None, is_ignored: Callable[[str], bool] | None = None,
) -> tuple[Finding, ...]:
    """``given`` are the client's build arguments, ``bases`` what is known of base images, ``is_ignored`` whether
    .dockerignore leaves out a path of the context (None: it leaves out nothing for certain)."""
    report = Report(which)
    for location in dockerfile.empty_continuations:
        report.add("NoEmptyContinuation", Location(location.last, location.last))
    _names(dockerfile, report)
    _casing(dockerfile, report)
    _descriptions(dockerfile, report)
    declared = {*graph.arguments, *(name for argument in dockerfile.arguments for name, _ in argument.entries)}
    for stage in dockerfile.stages:
        _from(stage.base, graph.arguments, declared, dockerfile.escape, report)
        for step in stage.steps:
            if isinstance(step, Maintainer):
                report.add("MaintainerDeprecated", step.location)
    _default_arguments(dockerfile, graph, report)
    stage_checks.check(dockerfile, graph, given or {}, bases or {}, is_ignored, report)
    return report.findings()


def _all(dockerfile: Dockerfile) -> Iterator[Instruction]:
    for stage in dockerfile.stages:
        yield stage.base
        yield from stage.steps


def _names(dockerfile: Dockerfile, report: Report) -> None:
    seen = set[str]()
    for stage in dockerfile.stages:
        base = stage.base
        if not base.name:
            continue
        _, as_, name = _from_words(base)
        keyword = base.original.split(None, 1)[0]
        if name != name.lower():
            report.add("StageNameCasing", base.location, name)
        if keyword in (keyword.lower(), keyword.upper()):
            wanted = as_.lower() if keyword == keyword.lower() else as_.upper()
            if as_ != wanted:
                report.add("FromAsCasing", base.location, as_, keyword)
        if base.name in _RESERVED:
            report.add("ReservedStageName", base.location, base.name)
        if base.name in seen:
            report.add("DuplicateStageName", base.location, base.name)
        seen.add(base.name)


def _from_words(base: From) -> list[str]:
    """Image, "AS" and name, as they are spelt."""
    return statement(base.original, base.location).arguments.split()


def _casing(dockerfile: Dockerfile, report: Report) -> None:
    lower = upper = 0
    for instruction in _all(dockerfile):
        keyword = instruction.original.split(None, 1)[0]
        lower += keyword == keyword.lower()
        upper += keyword == keyword.upper()
    wanted = "lowercase" if lower > upper else "uppercase"
    for instruction in _all(dockerfile):
        keyword = instruction.original.split(None, 1)[0]
        if keyword != (keyword.lower() if lower > upper else keyword.upper()):
            report.add("ConsistentInstructionCasing", instruction.location, keyword, wanted)


def _descriptions(dockerfile: Dockerfile, report: Report) -> None:
    for instruction in (*dockerfile.arguments, *_all(dockerfile)):
        comments = dockerfile.comments.get(instruction.location.first)
        if not comments or not isinstance(instruction, Arg | From):
            continue
        if isinstance(instruction, Arg):
            names = [name for name, _ in instruction.entries]
        else:
            names = [instruction.name] if instruction.name else []
        if names and comments[-1].split(" ")[0] not in names:
            kind = "ARG" if isinstance(instruction, Arg) else "FROM"
            report.add("InvalidDefinitionDescription", instruction.location, kind,
                       names[0] if len(names) == 1 else "<arg_key>")


def _from(base: From, known: Mapping[str, str], declared: set[str], escape: str, report: Report) -> None:
    """``declared`` has the names that need no value too."""
    for word in (base.image, base.platform):
        by = Expander(known, escape)
        by.word(word)
        for name in sorted(by.missing - declared):
            if report.wants("UndefinedArgInFrom"):
                report.add("UndefinedArgInFrom", base.location, name, meant(name, sorted(declared)))
    _platform(base, known, escape, report)


def _platform(base: From, known: Mapping[str, str], escape: str, report: Report) -> None:
    by = Expander(known, escape)
    platform = by.word(base.platform)
    if by.used == {_TARGET} and not by.missing and platform == known[_TARGET]:
        report.add("RedundantTargetPlatform", base.location, base.platform)
    if platform and not by.used and not by.missing and not any(
        part in base.name for part in platform.split("/")[:2]
    ):
        report.add("FromPlatformFlagConstDisallowed", base.location, platform)


def _default_arguments(dockerfile: Dockerfile, graph: Graph, report: Report) -> None:
    """Whether FROMs name images where no build argument is given."""
    always = {name: graph.arguments[name] for name in (*arguments.PLATFORMS, "TARGETSTAGE")}
    try:
        known = arguments.outside(dockerfile, {}, always)
        for stage in dockerfile.stages:
            image = Expander(known, dockerfile.escape).word(stage.base.image)
            if len(image) > _REFERENCE_MAX or not _REFERENCE.fullmatch(image):
                report.add("InvalidDefaultArgInFrom", stage.base.location, stage.base.image)
    except InvalidArgument:
        return  # without its arguments the file cannot be read at all: that is said when it is built so
