"""Where a pull's layers come from: whoever answers for the registry of a reference."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chassis.ids import Digest
from imaged.blobs import Ingest
from imaged.install import Report, Source
from imaged.reference import Reference
from imaged.state import State
from imaged.unbroken import unbroken
from pier.image.v1 import image_pb2 as pb

if TYPE_CHECKING:
    from imaged.registry_mirrors import Sources


@dataclass(frozen=True)
class Downloads:
    """Blobs of the repository of ``named``, as many at once as ``turn`` lets."""

    state: State
    client: Sources
    named: Reference
    turn: asyncio.Semaphore
    report: Report

    def __call__(self, blob: Digest, size: int) -> Source:
        """The source of one blob of ``size`` bytes."""
        async def bring(ingest: Ingest, there: Callable[[int], None]) -> None:
            async def write(piece: bytes) -> None:
                await unbroken(self.state.files.run(ingest.write, piece))

            def again() -> None:
                self.report(pb.LayerProgress(digest=blob, phase=pb.LAYER_PHASE_RETRYING, total=size))

            async with self.turn:
                await self.client.blob(self.named, blob, size, ingest, write, there, again)

        return bring
