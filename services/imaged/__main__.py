"""``python -m imaged``: wiring."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chassis import service
from chassis.blocking import Pool
from chassis.compression import Caps
from chassis.events import EventLog
from chassis.instance import make_private
from chassis.locks import NamedLocks
from chassis.logs import logger
from chassis.operations import Operations
from chassis.service import Runtime
from chassis.store import Store
from chassis.tar import Limits
from imaged import catalog, gc, recover, snapshotter
from imaged.blobs import BlobStore
from imaged.fsck import Fsck
from imaged.gate import Gate
from imaged.helpers.helpers import Helpers
from imaged.layers import LayerStore
from imaged.service import Content, Images, Snapshots, Volumes
from imaged.settings import ImagedSettings
from imaged.state import State
from imaged.statistics import Statistics
from imaged.unpack.unpacker import Unpacker
from pier.image.v1 import image_pb2_grpc as rpc


@asynccontextmanager
async def build(runtime: Runtime[ImagedSettings]) -> AsyncIterator[None]:
    """Open the state, undo what a crash left, serve, sweep from time to time."""
    settings = runtime.settings
    unpacker = Unpacker(
        runtime.state / "unpack.lock", concurrency=settings.unpack_workers,
        caps=Caps(settings.layer_max_bytes, settings.layer_max_ratio),
        limits=Limits(entries=settings.layer_max_entries), reserve=settings.disk_reserve_bytes,
    )
    files, streams = Pool("imaged-files", 8), Pool("imaged-streams", 4)
    await files.run(unpacker.take_lock)
    layers, volumes = LayerStore(runtime.state), runtime.state / "volumes"
    rootfs = snapshotter.opened(settings.snapshotter, runtime.state, layers)
    make_private(volumes)
    store = await Store.open(runtime.state / "imaged.db", catalog.MIGRATIONS)
    state = State(
        current=runtime.reload.current, store=store, events=EventLog(store, runtime.node_id), operations=Operations(),
        blobs=BlobStore(runtime.state), layers=layers, rootfs=rootfs, volumes=volumes, unpacker=unpacker,
        pours=runtime.instance.pours, files=files, streams=streams, gate=Gate(), locks=NamedLocks(), helpers=Helpers(),
    )
    sweeper: asyncio.Task[object] | None = None
    try:
        state.helpers.start()
        await recover.recover(state)
        runtime.epoch, runtime.events = store.epoch, state.events
        statistics = Statistics()
        statistics.publish(state)
        runtime.fsck = Fsck(state).check
        add = runtime.server.add
        add(rpc.add_ImageServiceServicer_to_server, Images(state), "pier.image.v1.ImageService")
        add(rpc.add_SnapshotServiceServicer_to_server, Snapshots(state), "pier.image.v1.SnapshotService")
        add(rpc.add_ContentServiceServicer_to_server, Content(state), "pier.image.v1.ContentService")
        add(rpc.add_VolumeServiceServicer_to_server, Volumes(state), "pier.image.v1.VolumeService")
        sweeper = state.operations.spawn("sweeper", lambda: _sweep(state, statistics))
        yield
    finally:
        if sweeper is not None:
            sweeper.cancel()
        await state.operations.close()
        await unpacker.close()
        await state.helpers.close()
        await store.close()
        files.close()
        streams.close()


async def _sweep(state: State, statistics: Statistics) -> None:
    while True:
        await statistics.refresh(state)
        await asyncio.sleep(state.settings.gc_interval)
        swept = await state.operations.run("gc", b"", lambda: gc.collect(state, state.settings.gc_grace))
        logger().info("swept", blobs=swept.blobs, layers=swept.layers, bytes=swept.bytes)


if __name__ == "__main__":
    service.main("imaged", ImagedSettings, build, "images, root file systems and volumes of a Pier engine")
