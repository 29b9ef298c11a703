"""execd's wiring."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from chassis.blocking import Pool
from chassis.events import EventLog
from chassis.instance import make_private
from chassis.operations import Operations
from chassis.service import Runtime, main
from chassis.store import Store
from execd import resource_metrics, statistics
from execd.archive.archives import Archives
from execd.cgroup_lock import CgroupLock
from execd.changes import Changes
from execd.containers import Containers
from execd.execs import Execs
from execd.fsck import Fsck
from execd.lives import Lives
from execd.logs.compress import Compression
from execd.logs.forward import Forwards
from execd.logs.watch import Watches
from execd.places import Places
from execd.probes import Probes
from execd.records import MIGRATIONS, Entry, Records
from execd.restart import Restart
from execd.restarts import Restarts
from execd.runtimes import Runtimes
from execd.service import ContainerService, SandboxService
from execd.settings import ExecdSettings
from execd.shims import Zygote
from execd.start import Starts
from execd.traces import Traces
from execd.updates import Updates
from pier.exec.v1 import exec_pb2_grpc


@asynccontextmanager
async def build(runtime: Runtime[ExecdSettings]) -> AsyncIterator[None]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # four for each container; systemd gives 1024
    instance, settings = runtime.instance, runtime.settings
    places = Places(runtime.state, runtime.run, instance.cgroup_parent)
    for directory in (places.shims, runtime.run / "runtime", places.probes, places.archives):
        make_private(directory)
    store = await Store.open(runtime.state / "execd.db", MIGRATIONS)
    events = runtime.events = EventLog(store, runtime.node_id)
    operations, pool = Operations(), Pool("files", 8)
    records = Records(store, events)
    await records.load()
    zygote = Zygote(instance, settings.python, settings.zygote_patience)
    await zygote.ensure()
    runtimes = Runtimes(
        settings.runtimes, zygote, runtime.run, instance.cgroup_parent, runtime.state / "runtimes.json"
    )
    lives = Lives(records, places, zygote, runtimes, operations, pool)
    starts = Starts(records, lives, places, runtimes, pool, runtime.boot_id, settings.init)
    execs = Execs(store, records, places, runtimes, operations, pool)
    await execs.load()
    lives.on_exec_exit, lives.on_unseen_end = execs.ended, execs.container_ended
    changes, updates = Changes(records, places, pool), Updates(records, places, pool)
    traces = Traces(store)
    restarts = Restarts(starts, operations, traces)
    lives.on_another = restarts.schedule
    restart = Restart(
        store, records, lives, starts, changes, updates, execs, restarts, places, operations, runtimes, runtime.boot_id
    )
    probes = Probes(records, execs, operations, traces)
    await restart.carry_on()
    watches = Watches()
    forwards = Forwards(places, pool, watches, operations, Path(settings.journal), lives.log_lost)
    compression = Compression(places, operations)
    lives.on_rotated = compression.catch_up

    def begun(entry: Entry) -> None:
        probes.watch(entry)
        forwards.follow(entry)

    starts.on_running = begun
    for entry in records:
        if entry.is_running():
            probes.watch(entry)
        if entry.container.status.incarnation:
            forwards.follow(entry)
            compression.catch_up(entry)
    runtimes.probe()
    runtime.epoch, runtime.facts = store.epoch, runtimes.facts
    runtime.fsck = Fsck(records, lives, restart, places, runtimes).check
    containers = Containers(
        records, lives, starts, changes, places, pool, forwards, frozenset(runtimes.paths), runtime.reload.current
    )
    probes.on_unhealthy = containers.end_unhealthy
    statistics.publish(records, forwards.failing)
    resource_metrics.publish(records, places, runtime.reload.current)
    runtime.server.add(
        exec_pb2_grpc.add_ContainerServiceServicer_to_server,
        ContainerService(  # type: ignore[abstract]  # an rpc that is not built is refused by its name
            events, records, containers, changes, updates, starts, execs, lives, places, operations, pool,
            CgroupLock(operations, pool), Archives(records, places), watches, forwards, traces,
        ),
        "pier.exec.v1.ContainerService",
    )
    runtime.server.add(
        exec_pb2_grpc.add_SandboxServiceServicer_to_server,
        SandboxService(),  # type: ignore[abstract]  # the same
        "pier.exec.v1.SandboxService",
    )
    try:
        yield
    finally:
        await runtimes.close()
        zygote.close()
        await operations.close()
        watches.close()
        compression.close()
        await lives.close()
        pool.close()
        await store.close()


if __name__ == "__main__":
    main("execd", ExecdSettings, build, "Pier's container service: processes, their exits and their logs.")
