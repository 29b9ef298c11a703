"""``python -m buildd``: wiring."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from buildd import leftovers, records
from buildd.service import Builds
from buildd.settings import BuilddSettings
from buildd.state import NAMESPACE, State
from chassis import service
from chassis.blocking import Pool
from chassis.instance import make_private
from chassis.metrics import gauge
from chassis.operations import Operations
from chassis.service import Runtime
from chassis.store import Store
from coordinator.coordinator import Coordinator
from coordinator.services import Services
from pier.build.v1 import build_pb2_grpc as rpc


@asynccontextmanager
async def build(runtime: Runtime[BuilddSettings]) -> AsyncIterator[None]:
    """Open the state, serve, and take away what an earlier life has left."""
    secrets = runtime.run / "secrets"
    make_private(secrets)
    services = Services.connect(runtime.instance, manager="buildd", namespace=NAMESPACE)
    store = await Store.open(runtime.state / "buildd.db", records.MIGRATIONS)
    state = State(
        instance=runtime.instance, current=runtime.reload.current, services=services,
        coordinator=Coordinator(services), store=store, operations=Operations(),
        files=Pool("buildd-files", 4), directory=runtime.state, secrets=secrets,
    )
    try:
        runtime.epoch = store.epoch
        runtime.fsck = lambda repair: leftovers.check(state, repair=repair)
        gauge("pier_buildd_builds", "Builds that are being carried out.", lambda: len(state.busy))
        runtime.server.add(rpc.add_BuildServiceServicer_to_server, Builds(state), "pier.build.v1.BuildService")
        for peer in services.peers:
            state.operations.spawn(f"connected:{peer.name}", peer.stay_connected)
        state.operations.spawn("sweep", lambda: leftovers.sweep(state))
        yield
    finally:
        await state.operations.close()
        await state.coordinator.close()
        await services.close()
        await store.close()
        state.files.close()


if __name__ == "__main__":
    service.main("buildd", BuilddSettings, build, "Dockerfile builds of a Pier engine")
