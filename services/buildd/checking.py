"""Build checks of a request: what they find is told before anything is built."""

from __future__ import annotations

from collections.abc import Callable

from buildd.context import Context
from buildd.dockerfile import checks, rules
from buildd.dockerfile.graph import Graph
from buildd.dockerfile.instructions import Dockerfile
from buildd.progress import Progress
from buildd.state import State
from chassis.ignore import Matcher
from chassis.stages import stage
from pier.build.v1 import build_pb2 as pb

_OPTIONS = "BUILDKIT_DOCKERFILE_CHECK"


async def check(
    state: State, options: pb.BuildOptions, found: Context, parsed: Dockerfile, graph: Graph, progress: Progress
) -> None:
    """Warn of what is found. InvalidArgument (CHECK_FAILED) where the file, or the client, says that it is an error."""
    which = rules.options(options.build_args.get(_OPTIONS, parsed.directives.get("check", "")))
    given = dict(options.build_args)
    async with stage("build.check"):
        findings = await state.files.run(
            lambda: checks.check(parsed, graph, which, given, is_ignored=_is_ignored(found.ignored)))
    await progress.warn(findings)
    rules.refuse(findings, which)


def _is_ignored(patterns: tuple[bytes, ...]) -> Callable[[str], bool] | None:
    """None where a pattern brings files back: what is left of a directory then is not certain (BuildKit's rule)."""
    if not patterns or any(pattern.startswith(b"!") for pattern in patterns):
        return None
    matcher = Matcher(patterns)
    return lambda path: matcher.matches(path.encode())
