"""What a build tells its client, in the order in which it happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

from buildd.dockerfile.instructions import Finding, Instruction
from pier.build.v1 import build_pb2 as pb

_QUEUE: Final = 64
"""Messages that wait for the client; a command whose output comes faster is slowed down."""
_PATIENT: Final = frozenset({"plan", "begin", "end", "warning"})
_PATIENCE: Final = 0.003
"""Seconds that these wait for others: of steps that are found there are a dozen in as many milliseconds."""
_MESSAGE_MAX: Final = 1 << 20


class Progress:
    """The messages of one build. ``messages`` are taken off by whoever sends them."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[pb.BuildResponse] = asyncio.Queue(_QUEUE)

    async def until(self, work: asyncio.Task[None]) -> AsyncIterator[pb.BuildResponse]:
        """The messages, until ``work`` has ended and all are taken; what comes together, or nearly, is told at once."""
        while (message := await self._next(work)) is not None:
            if message.WhichOneof("event") in _PATIENT:
                await asyncio.wait({work}, timeout=_PATIENCE)
            size = message.ByteSize()
            while size < _MESSAGE_MAX and not self.messages.empty():
                following = self.messages.get_nowait()
                message.following.append(following)
                size += following.ByteSize()
            yield message

    async def _next(self, work: asyncio.Task[None]) -> pb.BuildResponse | None:
        """None when there is none any more."""
        if not self.messages.empty():
            return self.messages.get_nowait()
        if work.done():
            return None
        coming = asyncio.ensure_future(self.messages.get())
        try:
            await asyncio.wait({coming, work}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not coming.done():
                coming.cancel()
        if coming.done() and not coming.cancelled():
            return coming.result()
        return None

    async def plan(self, steps: Sequence[StepProgress]) -> None:
        await self.send(pb.BuildResponse(plan=pb.Plan(steps=[step.message for step in steps])))

    async def warn(self, findings: Sequence[Finding]) -> None:
        for each in findings:
            await self.send(pb.BuildResponse(warning=pb.Warning(
                rule=each.rule, message=each.message, first_line=each.location.first, last_line=each.location.last)))

    async def output(self, data: bytes) -> None:
        await self.send(pb.BuildResponse(output=data))

    async def send(self, message: pb.BuildResponse) -> None:
        await self.messages.put(message)


class StepProgress:
    """One step of the plan."""

    def __init__(self, progress: Progress, id_: int, stage: str, number: int, count: int, what: Instruction) -> None:
        self._progress = progress
        self._began = 0.0
        self.message = pb.Step(
            id=id_, stage=stage, number=number, count=count, instruction=what.original,
            first_line=what.location.first, last_line=what.location.last,
        )

    async def begin(self) -> None:
        self._began = time.monotonic()
        await self._send(begin=pb.StepBegin(id=self.message.id))

    async def container(self, id_: str) -> None:
        """It is carried out in this container."""
        await self._send(begin=pb.StepBegin(id=self.message.id, container_id=id_))

    async def log(self, stream: int, data: bytes) -> None:
        await self._send(log=pb.StepLog(id=self.message.id, stream=stream, data=data))

    async def transfer(self, subject: str, current: int, total: int) -> None:
        await self._send(progress=pb.StepProgress(id=self.message.id, subject=subject, current=current, total=total))

    async def end(self, end: pb.StepEnd) -> None:
        end.id = self.message.id
        end.duration.FromNanoseconds(int((time.monotonic() - self._began) * 1e9))
        await self._send(end=end)

    async def _send(self, **event: object) -> None:
        await self._progress.send(pb.BuildResponse(**event))  # type: ignore[arg-type]
