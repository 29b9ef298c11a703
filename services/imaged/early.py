"""Layers of an archive are unpacked while the rest of it comes in: which layers they are is known only at its end.

What a blob unpacks to does not depend on the layers below it; its place does, the chain id, and that its directory gets
when the archive's tables are read. What turns out to be no layer, or is one that is here, goes away with the load.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import Final

from chassis.errors import PierError
from chassis.ids import Digest
from chassis.stages import stage
from imaged.layers import Filling
from imaged.state import State
from imaged.unbroken import acquire, cancelled, unbroken
from imaged.unpack.unpacker import Feed
from imaged.unpack.worker import Unpacked

_MOST: Final = 500
"""Blobs of one archive that are tried; a manifest has no more layers."""


@dataclass(frozen=True)
class Ready:
    """A directory that a blob is unpacked in."""

    filling: Filling
    unpacked: Unpacked


class Early:
    """The unpacking of one load. ``aclose`` ends it, and takes away what nobody took."""

    def __init__(self, state: State, loop: asyncio.AbstractEventLoop) -> None:
        self._state = state
        self._loop = loop
        self._tasks: dict[Digest, asyncio.Task[Ready | None]] = {}
        self._closed = False

    def offer(self, blob: Digest) -> None:
        """A blob is here that may be a layer's. Called by the thread that reads the archive."""
        self._loop.call_soon_threadsafe(self._begin, blob)

    def _begin(self, blob: Digest) -> None:
        if not self._closed and blob not in self._tasks and len(self._tasks) < _MOST:
            self._tasks[blob] = asyncio.create_task(self._unpack(blob))

    async def take(self, blob: Digest) -> Ready | None:
        """What the blob is unpacked in, the caller's from now on; None where that was not tried, or in vain."""
        task = self._tasks.get(blob)
        if task is None:
            return None
        ready = await asyncio.shield(task)
        # Two layers may be of one blob: the first takes it.
        return ready if self._tasks.pop(blob, None) is not None else None

    async def aclose(self) -> None:
        """Nothing of it is at work, or on disk, any more when this returns."""
        self._closed = True
        for task in self._tasks.values():
            await cancelled(task)
            if not task.cancelled() and task.exception() is None and (ready := task.result()) is not None:
                await self._discard(ready.filling)
        self._tasks.clear()

    async def _unpack(self, blob: Digest) -> Ready | None:
        """None where it cannot be unpacked: who needs it as a layer is told why when it is tried again."""
        state = self._state
        filling = await acquire(state.files, state.layers.begin, state.layers.discard)
        done = False
        try:
            fd = await acquire(state.files, lambda: state.blobs.open(blob), os.close)
            try:
                size = os.fstat(fd).st_size
                async with stage("load.unpack_early", blob=blob, bytes=size):
                    unpacked = await state.unpacker.unpack(fd, filling.fd, Feed(size, whole=True))
            finally:
                os.close(fd)
            done = True
            return Ready(filling, unpacked)
        except (PierError, OSError):
            return None
        finally:
            if not done:
                await self._discard(filling)

    async def _discard(self, filling: Filling) -> None:
        await unbroken(self._state.files.run(self._state.layers.discard, filling))
