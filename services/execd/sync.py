"""An exec to its end, with what it wrote: for health checks, and for callers that want no stream."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from chassis import attach
from chassis.errors import PierError
from chassis.ids import new_id
from execd import attachment
from execd.execs import Execs
from pier.exec.v1 import exec_pb2

_SIGKILL = 9


@dataclass
class Ended:
    """``exit`` is None where the time was up and the process was killed. Output is cut at the limit that was asked."""

    exit: exec_pb2.Exit | None
    stdout: bytes
    stderr: bytes


async def run(
    execs: Execs, container: str, process: exec_pb2.Process, timeout: float | None, limit: int
) -> Ended:
    """Run ``process`` in ``container``; ``timeout`` in seconds, None for none, ``limit`` in bytes of each stream.

    Raises what an exec's start does. Nothing of the exec is kept.
    """
    made = await execs.create(exec_pb2.ExecCreateRequest(id=new_id(), container_id=container, process=process))
    try:
        return await _run(execs, made, timeout, limit)
    finally:
        await execs.drop(made.id)


async def _run(execs: Execs, made: exec_pb2.Exec, timeout: float | None, limit: int) -> Ended:
    _, link, _ = await execs.attach_target(made.id)
    opened = exec_pb2.AttachOpen(id=made.container_id, exec_id=made.id, stdout=True, stderr=True)
    output = {attach.STDOUT: bytearray(), attach.STDERR: bytearray()}
    answers = attachment.serve(Path(link.attach_socket), made.id, True, opened, _nothing())
    async with contextlib.aclosing(answers):  # type: ignore[type-var]  # a generator, which its annotation hides
        await anext(answers)  # attached: from here on nothing that it writes is lost
        try:
            async with asyncio.timeout(timeout):
                await execs.start(exec_pb2.ExecStartRequest(id=made.id, operation_id=secrets.token_hex(8)))
                async for answer in answers:
                    kept = output[answer.stream]
                    kept += answer.data[: limit - len(kept)]
        except TimeoutError:
            with contextlib.suppress(PierError):  # it ended meanwhile
                await link.ask("signal", target=made.id, signal=_SIGKILL)
            return Ended(None, bytes(output[attach.STDOUT]), bytes(output[attach.STDERR]))
    ended = await execs.get(made.id)
    return Ended(ended.exit, bytes(output[attach.STDOUT]), bytes(output[attach.STDERR]))


async def _nothing() -> AsyncIterator[exec_pb2.AttachRequest]:
    """No input."""
    none: tuple[exec_pb2.AttachRequest, ...] = ()
    for request in none:
        yield request
