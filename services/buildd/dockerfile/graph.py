"""Which stages a target needs, and what each of them takes from others: `needed`.

A stage takes from those before it, by FROM, COPY --from and RUN --mount=from. A name that no stage has is a named
context's or an image's.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from buildd.dockerfile import arguments
from buildd.dockerfile.errors import REASON, at, located
from buildd.dockerfile.instructions import Copy, Dockerfile, Instruction, Location, OnBuild, Run, Stage
from buildd.dockerfile.parser import parse_trigger
from chassis.errors import InvalidArgument
from chassis.spelling import meant
from coordinator.dockerfile.errors import bad, shown
from coordinator.dockerfile.expansion import Expander

SCRATCH: Final = "scratch"
"""The image without a file."""
_INDEX: Final = re.compile(r"[+-]?[0-9]{1,9}")
_IMAGE_MAX: Final = 1024
_TRIGGERS_MAX: Final = 1000
_ALL_TRIGGERS_MAX: Final = 20_000
_PLATFORM: Final = re.compile(r"[A-Za-z0-9_.-]+(\([A-Za-z0-9_.-]*\))?(/[A-Za-z0-9_.-]+){0,2}")


@dataclass(frozen=True)
class Source:
    """The stage that has this index; None: the image or named context ``image``."""

    stage: int | None
    image: str = ""


@dataclass(frozen=True)
class Node:
    """A stage that is needed. ``steps`` are its own behind the ONBUILD triggers of the stage that it is built on (an
    image's are known once it is there: `triggers`). ``platform`` is "" where FROM names none."""

    stage: Stage
    base: Source
    platform: str
    steps: tuple[Instruction, ...]


@dataclass(frozen=True)
class Graph:
    """``nodes`` by index, each after what it takes from; ``target`` is the last one's. ``arguments``: what ARGs without
    a default take over."""

    nodes: Mapping[int, Node]
    target: int
    arguments: Mapping[str, str]
    plan: Plan

    def source(self, name: str, stage: int, location: Location) -> Source:
        """What ``name`` after ``from`` means in the stage with index ``stage``. InvalidArgument."""
        return self.plan.source(name, stage, location)


@dataclass(frozen=True)
class Plan:
    """All stages of a file, by their names."""

    dockerfile: Dockerfile
    contexts: Collection[str]
    name: str
    places: Mapping[str, list[int]]

    def source(self, name: str, stage: int, location: Location) -> Source:
        if name.lower() in self.contexts or name in self.contexts:
            return Source(None, name if name in self.contexts else name.lower())
        count = len(self.dockerfile.stages)
        if _INDEX.fullmatch(name):
            if not 0 <= int(name) < count:
                raise at(self.name, location, f"invalid stage index {int(name)}")
            found: int | None = int(name)
        else:
            found = self.named(name, stage)
        if found is None:
            return Source(None, name)
        return Source(found)

    def named(self, name: str, before: int) -> int | None:
        """The last stage of that name before ``before``, else the first behind it."""
        places = self.places.get(name.lower(), [])
        place = bisect_left(places, before)
        if place:
            return places[place - 1]
        return places[0] if places else None

    def shown(self, index: int) -> str:
        return self.dockerfile.stages[index].base.name or f"stage-{index}"


def needed(
    dockerfile: Dockerfile, target: str = "", given: Mapping[str, str] | None = None,
    platforms: Mapping[str, str] | None = None, contexts: Collection[str] = (), name: str = "Dockerfile",
) -> Graph:
    """``target`` is a stage's name or number, "" for the last one; ``given`` are the client's build arguments,
    ``platforms`` as of `arguments.predefined`, ``contexts`` the names of further contexts. InvalidArgument where there
    is no such target, a FROM names nothing, or a stage takes from itself or a later one."""
    places: dict[str, list[int]] = {}
    for stage in dockerfile.stages:
        if stage.base.name:
            places.setdefault(stage.base.name, []).append(stage.index)
    plan = Plan(dockerfile, contexts, name, places)
    last = _target(plan, target)
    given = given or {}
    always = arguments.predefined(platforms or {}, given, target or dockerfile.stages[last].base.name)
    known = arguments.outside(dockerfile, given, always, name)
    nodes = _nodes(plan, known)
    uses = {index: list(_uses(plan, node)) for index, node in nodes.items()}
    _refuse_circles(plan, uses)
    return Graph(_reached(plan, nodes, uses, last), last, known, plan)


def triggers(
    texts: Collection[str], location: Location, escape: str = "\\", name: str = "Dockerfile"
) -> tuple[Instruction, ...]:
    """The instructions that a base image's ONBUILD brings to the FROM at ``location``. InvalidArgument."""
    if len(texts) > _TRIGGERS_MAX:
        raise at(name, location, f"the base's ONBUILD brings more than {_TRIGGERS_MAX} instructions")
    return tuple(parse_trigger(text, location, escape, name) for text in texts)


def _target(plan: Plan, target: str) -> int:
    stages = plan.dockerfile.stages
    if not target:
        return len(stages) - 1
    found = plan.named(target, len(stages))
    if found is None and target.isascii() and target.isdecimal() and len(target) < 10 and int(target) < len(stages):
        found = int(target)
    if found is None:
        raise InvalidArgument(
            f'target stage "{shown(target)}" could not be found{meant(target.lower(), plan.places)}', reason=REASON,
            field="target",
        )
    return found


def _nodes(plan: Plan, known: Mapping[str, str]) -> dict[int, Node]:
    nodes, brought = dict[int, Node](), 0
    for stage in plan.dockerfile.stages:
        with located(plan.name, stage.base.location):
            by = Expander(known, plan.dockerfile.escape)
            image = by.word(stage.base.image)
            if not image:
                raise bad(f"base name ({shown(stage.base.image)}) should not be blank")
            if len(image) > _IMAGE_MAX:
                raise bad(f"base name ({shown(stage.base.image)}) is longer than {_IMAGE_MAX} characters")
            base = _base(plan, image, stage.index)
            above = nodes[base.stage] if base.stage is not None else None
            inherited = [step.trigger for step in above.steps if isinstance(step, OnBuild)] if above else []
            brought += len(inherited)
            if brought > _ALL_TRIGGERS_MAX:
                raise bad(f"ONBUILD brings more than {_ALL_TRIGGERS_MAX} instructions in all")
            steps = (*triggers(inherited, stage.base.location, plan.dockerfile.escape, plan.name), *stage.steps)
            platform = _platform(stage, by)
            nodes[stage.index] = Node(stage, base, platform or (above.platform if above else ""), steps)
    return nodes


def _base(plan: Plan, image: str, index: int) -> Source:
    if image in plan.contexts:
        return Source(None, image)
    found = plan.named(image, index)
    return Source(found) if found is not None and found < index else Source(None, image)


def _platform(stage: Stage, by: Expander) -> str:
    if not stage.base.platform:
        return ""
    platform = by.word(stage.base.platform)
    if not platform:
        raise bad(f"empty platform value from expression {shown(stage.base.platform)}"
                  f"{next((meant(name, by.variables) for name in sorted(by.missing)), '')}")
    if not _PLATFORM.fullmatch(platform):
        raise bad(f"failed to parse platform {shown(stage.base.platform)}: {shown(platform)!r} is not OS/ARCH/VARIANT")
    return platform


def _uses(plan: Plan, node: Node) -> Iterator[tuple[int, Location]]:
    """The stages that ``node`` takes from, and where it says so."""
    index = node.stage.index
    if node.base.stage is not None:
        yield node.base.stage, node.stage.base.location
    for step in node.steps:
        for name in froms(step):
            found = plan.source(name, index, step.location).stage
            if found is not None:
                yield found, step.location


def froms(step: Instruction) -> Iterator[str]:
    """The names after ``from`` in an instruction."""
    if isinstance(step, Copy) and step.from_:
        yield step.from_
    elif isinstance(step, Run):
        yield from (mount.from_ for mount in step.mounts if mount.from_)


def _refuse_circles(plan: Plan, uses: Mapping[int, list[tuple[int, Location]]]) -> None:
    """InvalidArgument for a stage that takes from itself, be it through others."""
    done = set[int]()
    for first in uses:
        path, waiting = dict[int, None](), [(first, iter(uses[first]))]
        if first in done:
            continue
        path[first] = None
        while waiting:
            index, rest = waiting[-1]
            step = next(rest, None)
            if step is None:
                waiting.pop()
                path.pop(index)
                done.add(index)
            elif step[0] in path:
                raise at(plan.name, step[1], f"circular dependency detected on stage: {plan.shown(step[0])}")
            elif step[0] not in done:
                path[step[0]] = None
                waiting.append((step[0], iter(uses[step[0]])))


def _reached(
    plan: Plan, nodes: Mapping[int, Node], uses: Mapping[int, list[tuple[int, Location]]], target: int
) -> dict[int, Node]:
    found, waiting = {target}, [target]
    while waiting:
        index = waiting.pop()
        for other, location in uses[index]:
            if other > index:
                raise at(plan.name, location, f'cannot copy from stage "{plan.shown(other)}", it needs to be defined '
                                              f'before current stage "{plan.shown(index)}"')
            if other not in found:
                found.add(other)
                waiting.append(other)
    return {index: nodes[index] for index in sorted(found)}
