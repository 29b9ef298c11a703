"""pier.build.v1 on the wire: requests in, one call each, messages out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from buildd import builds, prune
from buildd.progress import Progress
from buildd.state import State
from buildd.uplink import Uplink
from chassis.errors import InvalidArgument, Unavailable
from chassis.ids import new_id
from chassis.server import first_of
from pier.build.v1 import build_pb2 as pb
from pier.build.v1 import build_pb2_grpc as rpc

_PAGE: Final = 500
_PAGE_MAX: Final = 1000
_SWEPT_WITHIN: Final = 30.0


class Builds(rpc.BuildServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def Build(
        self, request_iterator: AsyncIterator[pb.BuildRequest], context: Any
    ) -> AsyncIterator[pb.BuildResponse]:
        first = await first_of(request_iterator)
        if not first.HasField("options"):
            raise InvalidArgument("the first message has no options", reason="BAD_FIELD", field="options")
        await self._swept()
        progress, word = Progress(), new_id()
        uplink = Uplink(first, request_iterator, progress)
        self._state.busy.add(word)
        work = asyncio.create_task(builds.build(self._state, first.options, uplink, progress), name="build")
        try:
            async for message in progress.until(work):
                yield message
            await work
        finally:
            # A build ends with its client; what it has begun is taken back by the service.
            work.cancel()
            await asyncio.wait({work})
            await uplink.close()
            self._state.busy.discard(word)

    async def _swept(self) -> None:
        """What an earlier life has left is known: what a build makes is not taken for it."""
        try:
            await asyncio.wait_for(self._state.swept.wait(), _SWEPT_WITHIN)
        except TimeoutError:
            raise Unavailable("imaged, netd or execd does not answer", reason="NOT_READY") from None

    async def ListRecords(self, request: pb.ListRecordsRequest, context: Any) -> pb.ListRecordsResponse:
        if request.page_token and not (request.page_token.isdecimal() and len(request.page_token) < 10):
            raise InvalidArgument("page_token: not one of ours", reason="BAD_TOKEN", field="page_token")
        offset, size = int(request.page_token or 0), min(request.page_size or _PAGE, _PAGE_MAX)
        found = await prune.listing(self._state)
        page = found[offset:offset + size]
        token = str(offset + size) if len(found) > offset + size else ""
        return pb.ListRecordsResponse(records=page, next_page_token=token)

    async def PruneRecords(self, request: pb.PruneRecordsRequest, context: Any) -> pb.PruneRecordsResponse:
        return await self._state.operations.run(
            "prune", request.SerializeToString(deterministic=True), lambda: prune.prune(self._state, request))
