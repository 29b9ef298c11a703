"""Build checks of a request: what they find is told before anything is built."""

from __future__ import annotations

from collections.abc import Callable

from buildd import config
from buildd.bases import IMAGE
from buildd.build import Build
from buildd.config import Document
from buildd.context import Context
from buildd.dockerfile import arguments, checks, rules
from buildd.dockerfile.graph import SCRATCH, Graph
from buildd.dockerfile.instructions import Dockerfile, Location
from buildd.dockerfile.stage_checks import Base
from buildd.progress import Progress
from buildd.state import State
from chassis.errors import InvalidArgument, NotFound
from chassis.ignore import Matcher
from chassis.stages import stage
from pier.build.v1 import build_pb2 as pb
from pier.image.v1 import image_pb2

_OPTIONS = "BUILDKIT_DOCKERFILE_CHECK"


async def check(
    state: State, options: pb.BuildOptions, found: Context, parsed: Dockerfile, graph: Graph, progress: Progress
) -> tuple[rules.Options, dict[str, image_pb2.Image]]:
    """Warn of what is found. Which checks count, and the base images that are here, by the names that they were asked
    for with. InvalidArgument (CHECK_FAILED) where the file, or the client, says that it is an error."""
    which = rules.options(options.build_args.get(_OPTIONS, parsed.directives.get("check", "")))
    given = dict(options.build_args)
    async with stage("build.check"):
        here = await _here(state, options, graph)
        bases = {name: _base(here[image]) for name, image in _names(options, graph).items() if image in here}
        findings = await state.files.run(
            lambda: checks.check(parsed, graph, which, given, bases, is_ignored=_is_ignored(found.ignored)))
    await progress.warn(findings)
    rules.refuse(findings, which)
    if unknown := arguments.unconsumed(parsed, given):
        await progress.send(pb.BuildResponse(warning=pb.Warning(
            message=f"One or more build-args [{' '.join(unknown)}] were not consumed")))
    return which, here


async def check_platform(
    build: Build, image: str, wanted: image_pb2.Platform, found: Document, place: Location
) -> None:
    """Warn where the base ``image`` of the FROM at ``place`` is for another machine than was asked for: its registry
    has no other. As ``check`` refuses."""
    names = (f"{found.os}/{found.architecture}", f"{wanted.os}/{wanted.architecture}")
    if names[0] == names[1]:
        return
    report = rules.Report(build.checks)
    report.add("InvalidBaseImagePlatform", place, image, *names)
    await build.progress.warn(report.findings())
    rules.refuse(report.findings(), build.checks)


def _names(options: pb.BuildOptions, graph: Graph) -> dict[str, str]:
    """The references of base images, by their names in the Dockerfile."""
    names = {node.base.image for node in graph.nodes.values() if node.base.stage is None} - {SCRATCH}
    return {name: options.contexts.get(name, name).removeprefix(IMAGE) for name in sorted(names)}


async def _here(state: State, options: pb.BuildOptions, graph: Graph) -> dict[str, image_pb2.Image]:
    """Base images that are here; nothing is pulled for a check."""
    found = {}
    for name in _names(options, graph).values():
        request = image_pb2.GetImageRequest(namespace=options.namespace, image=name)
        try:
            answer: image_pb2.GetImageResponse = await state.services.imaged.call(
                state.services.images.GetImage, request)
        except (NotFound, InvalidArgument):
            continue  # the build says it
        found[name] = answer.image
    return found


def _base(image: image_pb2.Image) -> Base:
    settings = config.parse(image.config).config or config.Config()
    return Base(settings.variables, has_shell=bool(settings.shell))


def _is_ignored(patterns: tuple[bytes, ...]) -> Callable[[str], bool] | None:
    """None where a pattern brings files back: what is left of a directory then is not certain (BuildKit's rule)."""
    if not patterns or any(pattern.startswith(b"!") for pattern in patterns):
        return None
    matcher = Matcher(patterns)
    return lambda path: matcher.matches(path.encode())
