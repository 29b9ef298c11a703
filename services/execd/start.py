"""The start of a life, step by step: intent, shim, mounts, document, runtime, filter, record.

What a kill leaves half done is found by its intent when execd is there again: ``settle`` looks at the shim and the
kernel and finishes the start, or undoes it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

from chassis import store, tmpfs
from chassis.blocking import Pool
from chassis.errors import Conflict, Internal, InvalidArgument, NotModified, PierError, Unimplemented
from chassis.events import timestamp
from chassis.logs import logger
from chassis.stages import stage
from execd import health, joins, realtime, successors
from execd.held import Holder
from execd.lives import EXITED, RESTARTING, RUNNING, Lives
from execd.oci import capabilities, config, mounts, propagation, users, validate
from execd.oci.rootfs import Rootfs
from execd.places import Places, write_file
from execd.records import Entry, Note, Records
from execd.runtimes import OciRuntime, Runtimes, is_filtered
from execd.shim import protocol, record
from execd.shims import RUN_TIMEOUT, Answer, ShimGone, ShimLink, graft_steps
from pier.exec.v1 import exec_pb2

CREATED: Final = exec_pb2.CONTAINER_STATE_CREATED
VERB: Final = "start"
_SHM: Final = "shm"
_NOT_FOUND: Final = re.compile(r"not found|no such file", re.IGNORECASE)
_NOT_EXECUTABLE: Final = re.compile(
    r"permission denied|not permitted|is a directory|not a regular file|exec format error", re.IGNORECASE
)
_EXECUTABLE: Final = re.compile(r"executable|exec|is not a regular file", re.IGNORECASE)


class Starts:
    """StartContainer's work."""

    def __init__(
        self, records: Records, lives: Lives, places: Places, runtimes: Runtimes, pool: Pool, boot_id: str, init: str
    ) -> None:
        self._records = records
        self._lives = lives
        self._places = places
        self._runtimes = runtimes
        self._pool = pool
        self._boot_id = boot_id
        self._init = init
        self._holder = Holder(records, pool)
        self.on_running: Callable[[Entry], None] | None = None
        """Told each life that has begun."""

    async def start(self, request: exec_pb2.StartContainerRequest) -> exec_pb2.Container:
        """Begin the next life, and answer when its process runs."""
        if request.source == exec_pb2.START_SOURCE_CHECKPOINT:
            raise Unimplemented("starts from a checkpoint are not built", reason="NOT_BUILT", field="source")
        for reference in request.namespaces:
            validate.namespace(reference)
        validate.environment(request.env, "env")
        validate.environment(request.secret_env, "secret_env")
        entry = self._records.need(request.id)
        if request.secret_env and entry.container.spec.restart_policy.name not in ("", "no"):
            raise InvalidArgument("secret_env: its later lives would lack it", reason="BAD_FIELD", field="secret_env",
                                  expected="a container without a restart policy")
        async with entry.lock:
            if entry.removed:
                self._records.need(request.id)
            if entry.container.status.incarnation and entry.operation == request.operation_id:
                if entry.container.status.error and not entry.is_running():
                    raise _told(entry.container)
                return entry.container
            if entry.is_running():
                raise NotModified(f"container {entry.id[:12]} runs already", field="id")
            return await self._start(entry, request)

    async def again(self, entry: Entry, request: exec_pb2.StartContainerRequest) -> exec_pb2.Container:
        """The next life by the restart policy. The caller holds the lock."""
        return await self._start(entry, request, by_hand=False)

    async def _start(
        self, entry: Entry, request: exec_pb2.StartContainerRequest, *, by_hand: bool = True
    ) -> exec_pb2.Container:
        # The filter's verdict first: nothing is begun under a runtime that is not trusted.
        runtime = await self._runtimes.get(entry.container.spec.runtime)
        link = await self._lives.shim_for_next(entry, "start.shim_fork")
        await self._intend(entry, request, link.incarnation, by_hand=by_hand)
        try:
            with joins.joined(self._records, entry.container.spec) as joined:
                answer = await self._run(entry, link, runtime, request, joined)
        except (PierError, OSError) as error:
            problem = error if isinstance(error, PierError) else Internal(f"start: {error}")
            await self._undo(entry, problem, link.incarnation)
            raise problem from error
        successors.hold(entry, link, answer.get("held", {}))
        return await self._record(entry, int(answer["pid"]), int(answer["started"]))

    async def _intend(
        self, entry: Entry, request: exec_pb2.StartContainerRequest, incarnation: int, *, by_hand: bool
    ) -> None:
        lasting = exec_pb2.StartContainerRequest()
        lasting.CopyFrom(request)
        lasting.ClearField("secret_env")
        kept = lasting.SerializeToString()

        def edit(container: exec_pb2.Container) -> None:
            container.status.incarnation = incarnation
            container.status.error = ""
            container.status.stopped_by_hand = False
            container.status.ClearField("health")
            if health.is_checked(container.spec):
                container.status.health.status = health.STARTING
            container.status.restart_count = 0 if by_hand else container.status.restart_count + 1
            container.boot_id = self._boot_id

        def also(connection: sqlite3.Connection) -> None:
            store.begin(connection, f"start:{entry.id}", VERB, str(incarnation).encode())
            if by_hand:
                connection.execute("UPDATE containers SET start=? WHERE id=?", (kept, entry.id))

        await self._records.change(entry, "start.record_intent", edit, operation=request.operation_id, also=also)
        if by_hand:
            entry.start = kept

    async def _run(
        self, entry: Entry, link: ShimLink, runtime: OciRuntime, request: exec_pb2.StartContainerRequest,
        joined: joins.Joined,
    ) -> Answer:
        spec = entry.container.spec
        async with stage("start.files"):
            files = await self._pool.run(self._write_files, entry.id, request)
        async with stage("start.mount"), self._holder.held(entry, link) as held:
            entries = [*map(mounts.for_shim, entry.container.rootfs), *held.entries, *_shm_of(joined)]
            graft_steps(await link.ask("mount", mounts=entries), VERB)
        caps = capabilities.effective(
            spec.process.capabilities_add, spec.process.capabilities_drop, privileged=spec.privileged
        )
        unconfined = spec.privileged or spec.seccomp.WhichOneof("profile") == "unconfined"
        async with stage("start.document"):
            filter_ = config.Filter(None, {}) if unconfined else await self._pool.run(
                runtime.filter, caps, spec.seccomp.custom)
            place = config.Place(
                entry.id, str(link.rootfs), self._places.cgroup(entry.container), files, held.binds,
                (*request.namespaces, *joined.namespaces), self._init,
                str(link.run_dir / "binds" / _SHM) if joined.shm else "", tuple(request.env),
                tuple(request.secret_env),
            )
            await self._pool.run(_write_document, link, spec, place, caps, filter_, request.marks)
        if spec.resources.cpu_rt_runtime:
            async with stage("start.realtime"):
                await self._pool.run(realtime.reserve, place.cgroup, spec.resources.cpu_rt_period,
                                     spec.resources.cpu_rt_runtime)
        async with stage("start.runtime_run", runtime=runtime.name):
            answer = await link.ask(
                "run", RUN_TIMEOUT, bundle=str(link.run_dir), mounts=entries, cgroup=place.cgroup,
                runtime={"path": runtime.path, "root": str(self._runtimes.root)},
            )
            graft_steps(answer, VERB)
        async with stage("start.verify_filter"):
            if not unconfined and await is_filtered(int(answer["pid"]), runtime.path) is False:
                await link.ask("signal", target="init", signal=9)
                raise Conflict(f"runtime {runtime.name} applied no seccomp filter; the process was killed",
                               reason="RUNTIME_UNSAFE")
        return answer

    def _write_files(self, container: str, request: exec_pb2.StartContainerRequest) -> dict[str, str]:
        """The engine's files, by their target in the container."""
        files = {}
        for name in ("hosts", "resolv_conf", "hostname"):
            data = getattr(request, name)
            if data:
                spelt = name.replace("_", ".")
                path = self._places.file(container, spelt)
                write_file(path, data)
                files[f"/etc/{spelt}"] = str(path)
        return files

    async def _record(self, entry: Entry, pid: int, started_ns: int) -> exec_pb2.Container:
        def edit(container: exec_pb2.Container) -> None:
            status = container.status
            status.state, status.pid = RUNNING, pid
            status.started_at.CopyFrom(timestamp(started_ns))
            status.ClearField("finished_at")
            for target in ("hosts", "resolv.conf", "hostname"):
                path = self._places.file(entry.id, target)
                if path.exists():
                    setattr(container, f"{target.replace('.', '_')}_path", os.fsencode(path))

        self._lives.open_pidfd(entry, pid)
        container = await self._records.change(
            entry, "start.record", edit, [Note("start")], time_ns=started_ns,
            also=lambda connection: store.finish(connection, f"start:{entry.id}"),
        )
        if self.on_running is not None:
            self.on_running(entry)
        return container

    async def _undo(self, entry: Entry, problem: PierError, incarnation: int) -> None:
        """Take a start back: the shim and all that it made go, the record says why."""
        problem = in_dockers_words(problem)
        code = {"COMMAND_NOT_FOUND": 127, "COMMAND_NOT_EXECUTABLE": 126}.get(problem.reason, 128)

        def edit(container: exec_pb2.Container) -> None:
            # A restart that execd's own end broke off is tried again; one that failed was the last.
            if container.status.state == RESTARTING and problem.reason != "INTERRUPTED":
                container.status.state = EXITED
            container.status.error = problem.message
            container.status.exit.CopyFrom(exec_pb2.Exit(code=code))
            container.status.exit.time.GetCurrentTime()

        try:
            async with stage("start.undo"):
                await self.discard(entry, incarnation)
        finally:
            await self._records.change(
                entry, "start.record_failure", edit,
                also=lambda connection: store.finish(connection, f"start:{entry.id}"),
            )

    async def discard(self, entry: Entry, incarnation: int) -> None:
        """Let the life's shim go with whatever it has, or let a fresh one clean up. The caller holds the lock."""
        link = entry.shim if entry.shim is not None and entry.shim.incarnation == incarnation else None
        if link is None:
            link = await self._lives.adopt(entry, incarnation)
        if link is None:
            await self._lives.clean_up(entry, incarnation)
            return
        try:
            await self._kill(link)
            await self._lives.release(entry, link)
        except ShimGone:
            await self._lives.clean_up(entry, incarnation)

    async def _kill(self, link: ShimLink) -> None:
        """End what the shim may already have started; its end is waited for, since a release refuses before."""
        for _ in range(1000):
            state = (await link.ask("describe"))["state"]
            if state not in (protocol.RUNNING, protocol.STARTING):
                return
            if state == protocol.RUNNING:
                try:
                    await link.ask("signal", target="init", signal=9)
                except Conflict:
                    pass
            await asyncio.sleep(0.01)
        raise Internal("a process does not end although it was killed", reason="STUCK")

    # After a restart.

    async def settle(self, entry: Entry, incarnation: int) -> None:
        """An unfinished start: finish it where the process ran, undo it elsewhere."""
        async with entry.lock:
            link = await self._lives.adopt(entry, incarnation)
            init: dict[str, Any] = {}
            if link is not None:
                init = await self._settled(link)
            exit_ = record.read(str(self._places.exit(entry.id, incarnation)))
            if init.get("state") in (protocol.RUNNING, protocol.ENDED) or exit_ is not None:
                logger().info("a start was finished", container=entry.id, incarnation=incarnation)
                if link is not None:
                    successors.hold(entry, link, init.get("held", {}))
                await self._record(entry, int(init.get("pid", 0)), int(init.get("started", 0)) or
                                   (exit_.time if exit_ else 0))
                return
            logger().info("a start was undone", container=entry.id, incarnation=incarnation)
            await self._undo(entry, Internal("execd was killed while it started the container", reason="INTERRUPTED"),
                             incarnation)

    async def _settled(self, link: ShimLink) -> dict[str, Any]:
        """Init as the shim has it, once it is not in the middle of starting it."""
        while True:
            try:
                init: dict[str, Any] = (await link.ask("describe"))["targets"]["init"]
            except ShimGone:
                return {}
            if init["state"] != protocol.STARTING:
                return init
            await asyncio.sleep(0.01)


def _shm_of(joined: joins.Joined) -> list[dict[str, Any]]:
    """Another container's /dev/shm, cloned by the shim out of that one's mount namespace."""
    if not joined.shm:
        return []
    return [{"type": protocol.FOREIGN, "source": joined.shm, "target": f"@/{_SHM}", "options": [mounts.SHM]}]


def _write_document(
    link: ShimLink, spec: exec_pb2.ContainerSpec, place: config.Place, caps: frozenset[str], filter_: config.Filter,
    marks: Sequence[bytes],
) -> None:
    """config.json, with the user's numbers out of the mounted root file system; makes working directory and marks."""
    propagation.check(spec.mounts)
    with Rootfs.of(link.pid, os.fsencode(link.rootfs)) as rootfs:
        for name in (b"dev", b"proc", b"sys"):
            rootfs.refuse_link(name)
        user = users.resolve(
            spec.process.user, spec.process.additional_groups, rootfs.read(b"etc/passwd"), rootfs.read(b"etc/group")
        )
        if spec.process.cwd:
            rootfs.make_directory(spec.process.cwd)
        for target in (*place.files, *((config.INIT,) if config.has_init(spec) else ())):
            rootfs.make_mount_point(os.fsencode(target))
        for mark in marks:
            rootfs.make_mount_point(mark)
    if place.secret_env:  # the runtime keeps a copy beside, which goes with the container
        tmpfs.need(link.run_dir)
    document = config.config(spec, place, user, caps, filter_)
    write_file(link.run_dir / "config.json", json.dumps(document).encode())


def in_dockers_words(problem: PierError) -> PierError:
    """A runtime's refusal by what the caller can do about it."""
    if problem.reason != "RUNTIME_REFUSED":
        return problem
    text = problem.message
    if _EXECUTABLE.search(text) and _NOT_FOUND.search(text):
        problem.reason = "COMMAND_NOT_FOUND"
    elif _EXECUTABLE.search(text) and _NOT_EXECUTABLE.search(text):
        problem.reason = "COMMAND_NOT_EXECUTABLE"
        if "permission denied" not in text.lower():
            problem.message = f"{text}: permission denied"
            problem.args = (problem.message,)
    return problem


def _told(container: exec_pb2.Container) -> PierError:
    """The failure of a start, told again to who asks with the same operation."""
    return in_dockers_words(Conflict(container.status.error, reason="RUNTIME_REFUSED"))
