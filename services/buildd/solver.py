"""The stages that a target needs, carried out side by side as far as they do not wait for one another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

from msgspec.structs import replace

from buildd import bases, checking, context, fetch, history, snapshots, steps
from buildd.build import Build, Image
from buildd.config import SHELL, Config, Document
from buildd.configure import bad
from buildd.dockerfile import graph as graphs
from buildd.dockerfile.errors import placed
from buildd.dockerfile.graph import Graph, Node, Source
from buildd.dockerfile.instructions import Instruction
from buildd.progress import StepProgress
from buildd.records import Inputs
from buildd.scope import Scope
from buildd.snapshots import SCRATCH
from buildd.stage_run import StageRun
from buildd.steps import Worked
from chassis.errors import InvalidArgument, PierError
from chassis.spelling import meant
from chassis.stages import stage
from coordinator.dockerfile.words import Work
from pier.build.v1 import build_pb2 as pb
from pier.image.v1 import image_pb2

_SYSTEMS: Final = ("linux", "windows", "darwin", "freebsd")
"""What a platform of one word may be; every other one is an architecture."""
_VARIABLES_MAX: Final = 64 << 20
"""Characters that variables bring in one build: what they hold is kept in histories, records and configurations."""


async def solve(build: Build, graph: Graph, escape: str, file: str) -> Image:
    """What the target comes to. The first error of any stage ends all others."""
    solver = _Solver(build, graph, escape, file)
    try:
        return await solver.run()
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    leaves = [leaf for error in group.exceptions for leaf in (
        [_first(error)] if isinstance(error, BaseExceptionGroup) else [error])]
    return next((leaf for leaf in leaves if not isinstance(leaf, PierError)), leaves[0])


class _Solver:
    def __init__(self, build: Build, graph: Graph, escape: str, file: str) -> None:
        self._build, self._graph, self._escape, self._file = build, graph, escape, file
        self._steps: dict[int, list[StepProgress]] = {}
        self._running: dict[int, asyncio.Task[Image]] = {}
        self._scopes: dict[int, Scope] = {}
        self._contexts: dict[str, str] = {}
        self._lock = asyncio.Lock()
        self._work = Work(_VARIABLES_MAX)
        self._count = 0

    async def run(self) -> Image:
        for index, node in self._graph.nodes.items():
            self._steps[index] = self._plan(node.stage.name, [node.stage.base, *node.steps])
        await self._tell_plan()
        async with asyncio.TaskGroup() as group:
            for index, node in self._graph.nodes.items():
                self._running[index] = group.create_task(self._stage(node), name=f"stage:{node.stage.name}")
        return self._running[self._graph.target].result()

    def _plan(self, name: str, steps: Sequence[Instruction], first: int = 1, count: int = 0) -> list[StepProgress]:
        planned = []
        for number, step in enumerate(steps, start=first):
            self._count += 1
            planned.append(StepProgress(self._build.progress, self._count, name, number, count or len(steps), step))
        return planned

    async def _tell_plan(self) -> None:
        await self._build.progress.plan([step for steps in self._steps.values() for step in steps])

    async def _stage(self, node: Node) -> Image:
        index, name = node.stage.index, node.stage.name
        async with stage("build.stage", stage=name):
            first = self._steps[index][0]
            await first.begin()
            with placed(self._file, node.stage.base.location):
                base = await self._base(node, first)
            triggers = await self._triggers(node, base)
            await first.end(pb.StepEnd(cache_key=base.ground.key, chain_id=base.ground.chain_id, image_id=base.base_id,
                                       cached=True))
            above = self._scopes.get(node.base.stage) if node.base.stage is not None else None
            scope = Scope(self._build.options.build_args, self._graph.arguments, self._escape, self._file,
                          dict(above.arguments) if above else {}, self._work)
            self._scopes[index] = scope

            async def find(step: Instruction, from_: str) -> str:
                return await self._find(index, step, from_)

            if triggers:
                base = Image(base.ground, without_triggers(base.document), "", base.created_ns)
            run = StageRun(self._build, name, base, scope, find)
            for step, progress in zip([*triggers, *node.steps], self._steps[index][1:], strict=True):
                with placed(self._file, step.location):
                    await run.carry_out(step, progress)
            return run.image

    async def _base(self, node: Node, step: StepProgress | None) -> Image:
        if node.base.stage is not None:
            above = await self._running[node.base.stage]
            return Image(above.ground, without_triggers(above.document), "", above.created_ns)
        platform = self._platform(node.platform)
        found = await self._image(node.base, platform, step)
        await checking.check_platform(
            self._build, node.base.image, platform, found.document, node.stage.base.location)
        return found

    async def _image(self, source: Source, platform: image_pb2.Platform, step: StepProgress | None) -> Image:
        name = source.image
        if name in self._build.options.contexts:
            name = self._build.options.contexts[name]
            if not name.startswith(bases.IMAGE):
                return await self._of_context(source.image, name, _nothing(platform))
            name = name.removeprefix(bases.IMAGE)
        elif name == graphs.SCRATCH:
            return Image(SCRATCH, _nothing(platform))
        return await bases.base(self._build, name, platform, step)

    def _platform(self, text: str) -> image_pb2.Platform:
        if not text:
            return self._build.platform
        parts = text.lower().split("/")
        if len(parts) == 1 and parts[0] not in _SYSTEMS:
            parts = [self._build.platform.os, *parts]
        return image_pb2.Platform(**dict(zip(("os", "architecture", "variant"), parts, strict=False)))

    async def _triggers(self, node: Node, base: Image) -> Sequence[Instruction]:
        """The instructions that an image's ONBUILD brings: the plan is told again with them."""
        if node.base.stage is not None or not base.config.on_build:
            return ()
        index = node.stage.index
        found = graphs.triggers(base.config.on_build, node.stage.base.location, self._escape, self._file)
        own = self._steps[index]
        self._steps[index] = [own[0], *self._plan(node.stage.name, found, 2, len(own) + len(found)), *own[1:]]
        await self._tell_plan()
        return found

    async def _find(self, index: int, step: Instruction, from_: str) -> str:
        if not from_:
            if not self._build.context.snapshot:
                raise bad(step, "there is no build context to take files from", self._file)
            return self._build.context.snapshot
        source = self._graph.source(from_, index, step.location)
        url = self._build.options.contexts.get(source.image, bases.IMAGE)
        if source.stage is None and not url.startswith(bases.IMAGE):
            return await self._named(source.image, url)
        if source.stage is not None:
            found = await self._running[source.stage]
        else:
            found = await self._image_or_stage(source)
        if not found.ground.snapshot:
            raise InvalidArgument(f"{from_}: it has no files", reason="NO_SUCH_FILE",
                                  facts={"first_line": str(step.location.first)})
        return found.ground.snapshot

    async def _image_or_stage(self, source: Source) -> Image:
        """An image that a name after ``from`` means, which may have been meant for a stage's."""
        try:
            return await self._image(source, self._build.platform, None)
        except PierError as error:
            suggestion = meant(source.image.lower(), self._graph.plan.places)
            if not suggestion:
                raise
            raise type(error)(f"{source.image[:80]}: no stage has this name{suggestion}, nor an image: {error.message}",
                              reason=error.reason, field=error.field, facts=error.facts) from error

    async def _named(self, name: str, url: str) -> str:
        """The snapshot of a further context, which is brought once in a build."""
        async with self._lock:
            if name not in self._contexts:
                self._contexts[name] = await (self._sent(name) if url == context.LOCAL else self._brought(name, url))
            return self._contexts[name]

    async def _sent(self, name: str) -> str:
        build = self._build
        async with stage("build.context"), aclosing(build.uplink.further(name)) as pieces:
            return await snapshots.unpacked(build.state, build.stack, build.namespace, pieces)

    async def _brought(self, name: str, url: str) -> str:
        build = self._build
        key = await build.stack.enter_async_context(snapshots.writable(build.state, build.namespace, SCRATCH))
        if await context.brought(build.state, build.stack, build.namespace, key, url, "contexts") is not None:
            raise InvalidArgument(f"context {name[:80]!a}: {fetch.shown(url)} is no archive", reason="BAD_CONTEXT",
                                  field="contexts", expected="a tar or a git repository")
        return key

    async def _of_context(self, name: str, url: str, document: Document) -> Image:
        """The files of a further context as an image without any settings: one layer, found by what is in them."""
        build = self._build
        files = image_pb2.FileSelection(snapshot=await self._named(name, url), sources=[b"/"], literal=True)
        digest = (await snapshots.hash_of(build.state, files)).digest

        @asynccontextmanager
        async def work(key: str) -> AsyncIterator[Worked]:
            async with snapshots.writable(build.state, build.namespace, SCRATCH, key):
                await snapshots.copy(build.state, image_pb2.CopyFilesRequest(
                    files=files, key=key, target=b"/", keep_owners=True))
                yield Worked()

        inputs = Inputs(ground=SCRATCH.key, instruction="FROM", files={name: digest})
        done = await steps.carry_out(build.state, build.place(f"FROM {name}", 0), inputs, build.rules, work)
        build.hold([done.record.key])
        when = build.clamped(done.record.created_ns)
        layer = history.entry(when, history.no_command(SHELL, f"FROM {name} "), layer=bool(done.record.layer))
        return Image(done.ground, replace(document, history=[layer]), "", when)


def _nothing(platform: image_pb2.Platform) -> Document:
    """What `scratch` says of itself."""
    return Document(platform.architecture, platform.os, variant=platform.variant, config=Config())


def without_triggers(document: Document) -> Document:
    """Triggers are carried out in the stage that is built on what has them, and go no further."""
    return replace(document, config=replace(document.config or Config(), on_build=None))
