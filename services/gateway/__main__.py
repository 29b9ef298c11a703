"""``python -m gateway``: wiring."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from chassis import pours, service
from chassis.blocking import Pool
from chassis.client import Peer
from chassis.service import Runtime
from coordinator import reconcile
from coordinator.coordinator import Coordinator
from coordinator.services import Services
from gateway import doors, rpc
from gateway.engine import Engine
from gateway.projection import Projection
from gateway.rest.app import Face
from gateway.rest.tables import TABLES
from gateway.settings import GatewaySettings

_GRACE: Final = 0.5
"""Seconds that requests have to end when the gateway stops; streams never do, and connections wait for the next one."""


@contextlib.asynccontextmanager
async def build(runtime: Runtime[GatewaySettings]) -> AsyncIterator[None]:
    """Serve both faces, and reconcile."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a client takes up to five descriptors
    services = Services.connect(runtime.instance, manager="gateway")
    coordinator, files = Coordinator(services), Pool("gateway-files", 4)
    buildd = Peer("buildd", runtime.instance.socket("buildd"))
    engine = Engine(runtime, services, coordinator, Projection(runtime.settings.read_timeout), files, buildd,
                    pours.laid_out(runtime.instance))
    runtime.reload.follow(lambda settings: partial(engine.projection.change_deadline, settings.read_timeout))
    face = Face(engine, TABLES, runtime.guard)
    rpc.add(runtime.server, engine)
    listeners, tls_files = doors.rest_listeners(runtime), service.tls_of(runtime)
    runtime.addresses = doors.engine_addresses(runtime)
    watcher = coordinator.operations.spawn("reconcile", lambda: reconcile.watch(coordinator))
    for peer in (*services.peers, buildd):
        coordinator.operations.spawn(f"connected:{peer.name}", peer.stay_connected)
    # A gateway that does not reconcile is none: the launcher starts it again.
    watcher.add_done_callback(lambda _: runtime.stopping.set())
    try:
        async with doors.serving(face, listeners, tls_files, _GRACE):
            yield
    finally:
        await coordinator.close()
        await services.close()
        await buildd.close()
        files.close()


if __name__ == "__main__":
    service.main("gateway", GatewaySettings, build,
                 "the faces of a Pier engine: Docker's Engine API over REST, pier.engine.v1 over gRPC")
