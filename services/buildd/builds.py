"""A build from its request to its image."""

from __future__ import annotations

import asyncio
import platform as python_platform
from contextlib import AsyncExitStack
from typing import Final

from buildd import checking, context, offers, records, result, snapshots
from buildd.build import Build, Image
from buildd.context import Context
from buildd.dockerfile import graph as graphs
from buildd.dockerfile.instructions import Dockerfile
from buildd.dockerfile.parser import parse
from buildd.dockerfile.rules import Options as CheckOptions
from buildd.hashes import Hashes
from buildd.progress import Progress
from buildd.running import Surroundings
from buildd.scope import platform_arguments
from buildd.solver import solve
from buildd.state import State
from buildd.steps import Rules
from buildd.uplink import Uplink
from chassis.errors import Aborted, InvalidArgument
from chassis.ids import namespace as check_namespace
from chassis.stages import stage
from pier.build.v1 import build_pb2 as pb
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2

_ATTEMPTS: Final = 3
_EPOCH: Final = "SOURCE_DATE_EPOCH"
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_SECRET_MAX: Final = 500 << 10
_EPOCH_MAX: Final = 253402300799
"""The last second of the year 9999."""


async def build(state: State, options: pb.BuildOptions, uplink: Uplink, progress: Progress) -> None:
    """Carry the build out, and tell ``progress`` what becomes of it."""
    check(options)
    async with context.received(state, options, uplink.context()) as found:
        file = options.dockerfile or context.DOCKERFILE
        async with stage("build.parse"):
            parsed = await state.files.run(parse, found.dockerfile, file)
            graph = graphs.needed(
                parsed, options.target, dict(options.build_args), platform_arguments(host(), _platform(options)),
                tuple(options.contexts), file)
        async with Hashes(state, found) as hashes:
            if not options.check:
                hashes.foresee(node.steps for node in graph.nodes.values())
            checks, here = await checking.check(state, options, found, parsed, graph, progress)
            if options.check:
                await progress.send(pb.BuildResponse(result=pb.BuildEnd()))
                return
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    await _attempt(state, options, uplink, found, parsed, graph, checks, progress, here, hashes)
                    return
                except Aborted as error:
                    if error.reason != "CACHE_LOST" or attempt == _ATTEMPTS:
                        raise
                    await _forget_lost(state)


async def _attempt(
    state: State, options: pb.BuildOptions, uplink: Uplink, found: Context, parsed: Dockerfile, graph: graphs.Graph,
    checks: CheckOptions, progress: Progress, here: dict[str, image_pb2.Image], hashes: Hashes,
) -> None:
    async with AsyncExitStack() as stack:
        made = Build(
            state, options, progress, uplink, found, _platform(options), Rules(options.no_cache, _clamp(options)),
            asyncio.Semaphore(state.settings.parallel), _around(options), stack, hashes, here, checks,
        )
        async with made.bookkeeping():
            made.cache_images = await offers.images(made)
            image = await solve(made, graph, parsed.escape, options.dockerfile or context.DOCKERFILE)
            await _deliver(made, image)


async def _deliver(made: Build, image: Image) -> None:
    kind = made.options.output.WhichOneof("kind")
    if kind == "tar":
        await result.tar(made, image)
        end = pb.BuildEnd()
    else:
        end = pb.BuildEnd(image=await result.image(made, image))
        if kind == "oci":
            await result.archive(made, end.image)
    end.image.ClearField("config")
    await made.progress.send(pb.BuildResponse(result=end))


async def _forget_lost(state: State) -> None:
    """Records whose snapshot is not at imaged any more."""
    for record in await state.store.read(records.everything):
        kept = not record.snapshot or record.type == records.CACHE_MOUNT
        if not kept and await snapshots.committed(state, record.snapshot) is None:
            await records.forget(state.store, record.key)


def check(options: pb.BuildOptions) -> None:
    """Judge what can be judged before anything is read."""
    check_namespace(options.namespace, "options.namespace")
    for number, secret in enumerate(options.secrets):
        if len(secret.value) > _SECRET_MAX:
            raise InvalidArgument(f"secret {secret.id[:80]!a} is longer than {_SECRET_MAX} bytes", reason="TOO_LARGE",
                                  field=f"options.secrets[{number}]")


def host() -> image_pb2.Platform:
    """This machine's."""
    machine = python_platform.machine()
    return image_pb2.Platform(os="linux", architecture=_MACHINES.get(machine, machine))


def _platform(options: pb.BuildOptions) -> image_pb2.Platform:
    return options.platform if options.HasField("platform") and options.platform.os else host()


def _clamp(options: pb.BuildOptions) -> int | None:
    if options.HasField("source_date"):
        return options.source_date.ToNanoseconds()
    text = options.build_args.get(_EPOCH, "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or int(text) > _EPOCH_MAX:
        raise InvalidArgument(f"{_EPOCH}: {text[:40]!a} is no time", reason="BAD_EPOCH", field="options.build_args",
                              expected="seconds since 1970")
    return int(text) * 10**9


def _around(options: pb.BuildOptions) -> Surroundings:
    limits = options.limits
    resources = exec_pb2.Resources(cpuset_cpus=limits.cpuset_cpus, cpuset_mems=limits.cpuset_mems)
    for name in ("memory", "memory_swap", "cpu_shares", "cpu_period", "cpu_quota"):
        if value := getattr(limits, name):
            setattr(resources, name, value)
    return Surroundings(
        tuple(options.extra_hosts), options.shm_size, resources,
        tuple(exec_pb2.Rlimit(name=each.name, soft=each.soft, hard=each.hard) for each in limits.ulimits),
        limits.cgroup_parent,
    )
