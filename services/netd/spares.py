"""Network namespaces kept ready, so that making one (about 1 ms) is off the path of a start.

Only namespaces, no veth pairs: a sandbox without a network must show no spare link, and moving a link between
namespaces waits for RCU, which costs more than making the pair in its place.
"""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import Final

from chassis.blocking import Pool
from chassis.operations import Operations
from chassis.stages import stage, trace
from netd import netns
from netd.netlink import NetlinkSocket
from netd.netns import Netns

_PAUSE_SECONDS: Final = 0.1


class Spares:
    """Up to ``size`` pinned namespaces without an owner. Whoever takes one owns it, and its open socket."""

    def __init__(self, directory: Path, size: int, threads: Pool, operations: Operations) -> None:
        self._directory = directory
        self._size = size
        self._threads = threads
        self._operations = operations
        self._ready: deque[tuple[Netns, NetlinkSocket]] = deque()
        self._filling = False
        self.still = asyncio.Lock()
        """Held while one is made in the background: who holds it sees every pin of ours in ``pins``."""

    @property
    def pins(self) -> set[str]:
        """File names of those that wait."""
        return {spare.path.name for spare, _ in list(self._ready)}

    async def take(self) -> tuple[Netns, NetlinkSocket]:
        """A namespace with loopback up, at once if one is ready, and a socket inside that the caller closes."""
        try:
            if self._ready:
                return self._ready.popleft()
            return await self._threads.run(netns.make, self._directory)
        finally:
            self.fill()

    def fill(self) -> None:
        """Make what lacks, in the background, one after the other."""
        if not self._filling and len(self._ready) < self._size:
            self._filling = True
            self._operations.spawn("spare namespaces", self._fill)

    async def _fill(self) -> None:
        try:
            while len(self._ready) < self._size:
                # The start that took one is still under way and wants the processor.
                await asyncio.sleep(_PAUSE_SECONDS)
                with trace("spares"):
                    async with self.still, stage("spare.netns"):
                        self._ready.append(await self._threads.run(netns.make, self._directory))
        finally:
            self._filling = False

    async def close(self) -> None:
        """Take down those that wait."""
        self._size = 0
        while self._ready:
            spare, sock = self._ready.popleft()
            sock.close()
            async with stage("spare.unpin"):
                await self._threads.run(netns.unpin, spare.path)
