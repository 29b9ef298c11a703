"""RUN: a container over the step's ground, its output as it comes, and its exit code."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from buildd.config import PATH, Config
from buildd.progress import StepProgress
from buildd.snapshots import Ground, lost
from buildd.state import State
from buildd.steps import Worked
from chassis import attach
from chassis.errors import InvalidArgument, NotFound, PierError, Unavailable
from chassis.stages import stage
from coordinator import attaching
from coordinator.commit import MOUNT_POINTS
from coordinator.create import NewContainer
from pier.engine.v1 import engine_pb2
from pier.exec.v1 import exec_pb2
from pier.network.v1 import network_pb2
from pier.types.v1 import types_pb2

_READ: Final = 256 << 10
_BLOCK: Final = 64 << 10
"""Bytes of output that are told in one message."""
_DAY: Final = 86400.0


@dataclass(frozen=True)
class Command:
    """What a RUN starts. ``shown`` is how an error names it; ``hidden`` are variables that count for no key, and
    ``secret_env`` are entries of its environment that are written down nowhere."""

    words: Sequence[str]
    shown: str
    config: Config
    arguments: Mapping[str, str]
    hidden: Mapping[str, str] = field(default_factory=dict)
    network: str = "default"
    mounts: Sequence[types_pb2.MountSpec] = ()
    mount_points: Sequence[bytes] = ()
    secret_env: Sequence[bytes] = ()


@dataclass(frozen=True)
class Surroundings:
    """What every container of a build has: as the client asked."""

    extra_hosts: Sequence[str] = ()
    shm_size: int = 0
    resources: exec_pb2.Resources = field(default_factory=exec_pb2.Resources)
    rlimits: Sequence[exec_pb2.Rlimit] = ()
    cgroup_parent: str = ""


@asynccontextmanager
async def run(
    state: State, id_: str, ground: Ground, command: Command, around: Surroundings, step: StepProgress
) -> AsyncIterator[Worked]:
    """Run the command in container ``id_`` to its end. InvalidArgument (COMMAND_FAILED) where its code is not 0.

    The container is gone soon after the block, or after what goes wrong in it, a cancellation above all.
    """
    try:
        async with stage("build.run", container=id_):
            await _create(state, id_, ground, command, around)
            await step.container(id_)
            async with _attached(state, id_) as shim:
                await _start(state, id_, command)
                await _follow(shim, step)
            await _check(state, id_, command)
        yield Worked(mount_points=[*MOUNT_POINTS, *command.mount_points])
    finally:
        state.see_to(f"remove:{id_}", lambda: remove(state, id_))


async def remove(state: State, id_: str) -> None:
    """Kill the container and take away what belonged to it."""
    with contextlib.suppress(NotFound):
        await state.coordinator.remove(id_, force=True)


async def _create(state: State, id_: str, ground: Ground, command: Command, around: Surroundings) -> None:
    new = NewContainer(
        id=id_, name=f"build-{id_[:32]}", image="", spec=_spec(command, around), plan=_plan(command, around),
        snapshot=ground.snapshot,
    )
    try:
        await state.coordinator.create(new)
    except NotFound as error:
        if error.reason == "NO_SNAPSHOT":
            raise lost(ground.snapshot) from error
        raise


def _spec(command: Command, around: Surroundings) -> exec_pb2.ContainerSpec:
    config = command.config
    environment = {"PATH": PATH, **command.hidden, **command.arguments, **config.variables}
    spec = exec_pb2.ContainerSpec(
        mounts=command.mounts, resources=around.resources, shm_size=around.shm_size, cgroup_parent=around.cgroup_parent,
        process=exec_pb2.Process(
            args=[_bytes(word) for word in command.words],
            env=[_bytes(f"{name}={value}") for name, value in environment.items()],
            cwd=_bytes(config.working_dir or "/"), user=config.user or "", rlimits=around.rlimits,
        ),
    )
    spec.log.driver = "none"
    return spec


def _plan(command: Command, around: Surroundings) -> engine_pb2.ContainerPlan:
    plan = engine_pb2.ContainerPlan(extra_hosts=around.extra_hosts)
    if command.network in ("none", "host") or command.network.startswith("container:"):
        plan.network_mode = command.network
        return plan
    plan.network_mode = "bridge" if command.network in ("", "default") else command.network
    plan.attachments.append(network_pb2.Attachment(network=plan.network_mode))
    return plan


@asynccontextmanager
async def _attached(state: State, id_: str) -> AsyncIterator[socket.socket]:
    services = state.services
    opened: exec_pb2.OpenAttachResponse = await services.execd.call(
        services.containers.OpenAttach, exec_pb2.OpenAttachRequest(namespace=services.namespace, id=id_))
    request = attach.AttachRequest(attach.INIT, stdin=False, stdout=True, stderr=True, framed=True)
    async with attaching.dial(opened.socket_path, request) as shim:
        yield shim


async def _follow(shim: socket.socket, step: StepProgress) -> None:
    """Tell the output until the process has ended, in messages of a block at most."""
    loop = asyncio.get_running_loop()
    held = bytearray()
    while data := await loop.sock_recv(shim, _READ):
        held += data
        at = 0
        while len(held) - at >= attach.HEADER.size:
            stream, length = attach.HEADER.unpack_from(held, at)
            start = at + attach.HEADER.size
            if len(held) < start + length:
                break
            for piece in range(start, start + length, _BLOCK):
                await step.log(stream, bytes(held[piece:min(piece + _BLOCK, start + length)]))
            at = start + length
        del held[:at]


async def _start(state: State, id_: str, command: Command) -> None:
    """A runtime's refusal to start the command is the failed command that it is for the client."""
    try:
        await state.coordinator.start(id_, secret_env=command.secret_env)
    except PierError as error:
        code = {"COMMAND_NOT_FOUND": 127, "COMMAND_NOT_EXECUTABLE": 126}.get(error.reason)
        if code is None:
            raise
        raise InvalidArgument(
            f"The command '{command.shown}' returned a non-zero code: {code}: {error.message}", reason="COMMAND_FAILED",
            facts={"exit_code": str(code)}) from error


async def _check(state: State, id_: str, command: Command) -> None:
    exit_ = await _exit(state, id_)
    if not exit_.HasField("code"):
        raise Unavailable(f"{command.shown}: nobody saw how it ended", reason="EXIT_UNKNOWN")
    if exit_.code:
        killed = " (out of memory)" if exit_.oom_killed else ""
        raise InvalidArgument(
            f"The command '{command.shown}' returned a non-zero code: {exit_.code}{killed}", reason="COMMAND_FAILED",
            facts={"exit_code": str(exit_.code)},
        )


async def _exit(state: State, id_: str) -> exec_pb2.Exit:
    services = state.services
    request = exec_pb2.WaitRequest(
        namespace=services.namespace, id=id_, condition=exec_pb2.WAIT_CONDITION_NOT_RUNNING)
    async with contextlib.aclosing(services.execd.stream(services.containers.Wait, request, _DAY)) as answers:
        async for answer in answers:
            if answer.WhichOneof("event") == "exit":
                found: exec_pb2.Exit = answer.exit
                return found
    raise Unavailable(f"container {id_}: nobody told its end", reason="EXIT_UNKNOWN")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
