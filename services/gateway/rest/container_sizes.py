"""Bytes that containers take: imaged's knowledge, asked only where a client wants it, since it reads directories."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from chassis.errors import NotFound
from gateway import listing
from gateway.engine import Engine
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2

_AT_ONCE: Final = 4


async def of(engine: Engine, containers: Iterable[exec_pb2.Container]) -> dict[str, dict[str, int]]:
    """Container id → ``SizeRw`` and ``SizeRootFs``. A container that goes meanwhile has none."""
    images = {image.id: image.size for image in await listing.images(engine)}
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(container: exec_pb2.Container) -> dict[str, int]:
        async with turn:
            written = await _written(engine, container.id)
        return {"SizeRw": written, "SizeRootFs": written + images.get(container.spec.image_id, 0)}

    wanted = list(containers)
    found = await asyncio.gather(*(one(container) for container in wanted))
    return {container.id: sizes for container, sizes in zip(wanted, found, strict=True)}


async def _written(engine: Engine, id_: str) -> int:
    try:
        answer: image_pb2.SnapshotUsageResponse = await engine.services.imaged.call(
            engine.services.snapshots.SnapshotUsage, image_pb2.SnapshotUsageRequest(key=id_))
    except NotFound:
        return 0
    return answer.bytes
