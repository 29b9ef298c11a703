"""What a client sends while its build goes: its context first, then what the build asks it for."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from buildd.progress import Progress
from chassis.errors import InvalidArgument
from pier.build.v1 import build_pb2 as pb

_AHEAD: Final = 4
"""Messages of a further context that are held while one is written."""


class Uplink:
    """The requests behind the ``first`` one. ``close`` it with the build."""

    def __init__(self, first: pb.BuildRequest, requests: AsyncIterator[pb.BuildRequest], progress: Progress) -> None:
        self._first, self._requests, self._progress = first, requests, progress
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[bytes]] = {}
        self._wanted: tuple[str, asyncio.Queue[pb.BuildRequest | None]] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._listening: asyncio.Task[None] | None = None
        self._ended = False

    async def context(self) -> AsyncGenerator[bytes, None]:
        """The build's own context. It is read to its end, or left, before anything else is asked for."""
        request = self._first
        while True:
            if request.context:
                yield request.context
            if request.context_end:
                return
            following = await anext(self._requests, None)
            if following is None:
                self._ended = True
                return
            request = following

    async def further(self, name: str) -> AsyncGenerator[bytes, None]:
        """The client's context ``name``. InvalidArgument (NO_CONTEXT) where it does not send it."""
        async with self._one_at_a_time:
            coming: asyncio.Queue[pb.BuildRequest | None] = asyncio.Queue(_AHEAD)
            self._wanted = name, coming
            try:
                self._listen()
                await self._progress.send(pb.BuildResponse(wanted=name))
                if self._ended:
                    coming.put_nowait(None)
                while (request := await coming.get()) is not None:
                    if request.context:
                        yield request.context
                    if request.context_end:
                        return
                raise InvalidArgument(f"context {name[:80]!a}: the client does not send it", reason="NO_CONTEXT",
                                      field="contexts")
            finally:
                self._wanted = None
                while not coming.empty():  # who waits for room goes on
                    coming.get_nowait()

    async def ask_agent(self, id_: str, message: bytes) -> bytes:
        """What the client's ssh agent ``id_`` answers; b"" where it cannot be asked."""
        number = next(self._numbers)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            self._listen()
            if self._ended:
                return b""
            await self._progress.send(pb.BuildResponse(
                agent_request=pb.AgentRequest(number=number, id=id_, message=message)))
            return await answer
        finally:
            del self._answers[number]

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait({self._listening})

    def _listen(self) -> None:
        if self._listening is None:
            self._listening = asyncio.create_task(self._take(), name="build:uplink")

    async def _take(self) -> None:
        """Hand on what comes. What nobody has asked for, or wants no more, is passed over."""
        if not self._ended:
            async for request in self._requests:
                await self._hand_on(request)
        self._ended = True
        for answer in self._answers.values():
            if not answer.done():
                answer.set_result(b"")
        if self._wanted is not None:
            await self._wanted[1].put(None)

    async def _hand_on(self, request: pb.BuildRequest) -> None:
        if request.HasField("agent_answer"):
            answer = self._answers.get(request.agent_answer.number)
            if answer is not None and not answer.done():
                answer.set_result(request.agent_answer.message)
        elif self._wanted is not None and request.context_name == self._wanted[0]:
            await self._wanted[1].put(request)
