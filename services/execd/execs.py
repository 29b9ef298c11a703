"""Execs: further processes of a running container. Records are durable; the end of each is a file that its shim wrote
before it told anybody, so that what is on disk decides, whoever was killed meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any, Final

from chassis import ids
from chassis.blocking import Pool
from chassis.errors import AlreadyExists, Conflict, NotFound, NotModified, PierError
from chassis.events import timestamp
from chassis.operations import Operations
from chassis.stages import stage
from chassis.store import Store
from execd.changes import PAUSED, RESTARTING, RUNNING
from execd.lives import to_exit
from execd.oci import capabilities, config, users, validate
from execd.oci.rootfs import Rootfs
from execd.places import Places, write_file
from execd.records import Entry, Note, Records
from execd.runtimes import Runtimes, is_filtered
from execd.shim import protocol, record
from execd.shims import RUN_TIMEOUT, ShimLink, graft_steps
from execd.start import in_dockers_words
from pier.exec.v1 import exec_pb2

_KEPT: Final = 1000
"""Ended execs that are kept with a container."""


class Execs:
    """All execs of this instance; those that run are in memory with their container."""

    def __init__(
        self, store: Store, records: Records, places: Places, runtimes: Runtimes, operations: Operations, pool: Pool
    ) -> None:
        self._runtimes = runtimes
        self._store = store
        self._records = records
        self._places = places
        self._operations = operations
        self._pool = pool
        self._execs: dict[str, exec_pb2.Exec] = {}
        self._started: dict[str, str] = {}
        self._fingerprints: dict[str, bytes] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._announced: dict[str, ShimLink] = {}
        """Made execs that a shim knows already, by the connection over which it was told."""

    async def load(self) -> None:
        """Read everything, once, when the service starts."""
        rows = await self._store.read(lambda connection: connection.execute(
            "SELECT id, fingerprint, operation, body FROM execs"
        ).fetchall())
        for exec_id, fingerprint, operation, body in rows:
            self._execs[exec_id] = exec_pb2.Exec.FromString(body)
            self._fingerprints[exec_id], self._started[exec_id] = fingerprint, operation

    async def create(self, request: exec_pb2.ExecCreateRequest) -> exec_pb2.Exec:
        """Register; nothing is started."""
        exec_id = ids.exec_id(request.id)
        entry = self._records.named(request.namespace, request.container_id)
        fingerprint = request.SerializeToString(deterministic=True)
        existing = self._execs.get(exec_id)
        if existing is not None:
            if self._fingerprints[exec_id] != fingerprint:
                raise AlreadyExists(f"exec {exec_id} exists with another process", reason="SPEC_DIFFERS", field="id")
            return existing
        _need_running(entry)
        validate.process(request.process, "process")
        made = exec_pb2.Exec(
            id=exec_id, container_id=entry.id, process=request.process, created_at=timestamp(time.time_ns()),
            extensions=request.extensions,
        )
        self._execs[exec_id], self._fingerprints[exec_id], self._started[exec_id] = made, fingerprint, ""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO execs VALUES (?, ?, ?, '', ?)",
                               (exec_id, entry.id, fingerprint, made.SerializeToString()))
            note = Note(f"exec_create: {_command(made)}", {"execID": exec_id})
            self._records.append(connection, entry.container, note, None)

        try:
            await self._store.write("exec_create.record", write)
        except BaseException:
            self._forget(exec_id)
            raise
        return made

    async def start(self, request: exec_pb2.ExecStartRequest) -> exec_pb2.Exec:
        """Run it; answers when its process runs. Its exit is an event, and in GetExec."""
        made = self.need(request.id)
        async with self._locks.setdefault(made.id, asyncio.Lock()):
            made = self.need(request.id)
            if made.started:
                if self._started[made.id] == request.operation_id:
                    if made.error:
                        raise in_dockers_words(Conflict(made.error, reason="RUNTIME_REFUSED"))
                    return made
                raise NotModified(f"exec {made.id[:12]} has been started", field="id")
            entry = self._records.need(made.container_id)
            link = self._shim(entry)
            document = link.run_dir / f"{made.id[:16]}.json"
            try:
                # Nobody reads the document before the intent is on disk.
                intended, written = await asyncio.gather(
                    self._change(made.id, "exec_start.record_intent", _mark_started, operation=request.operation_id),
                    self._write(document, entry, made, request), return_exceptions=True)
                if isinstance(intended, BaseException):
                    raise intended
                try:
                    if isinstance(written, BaseException):
                        raise written
                    return await self._run(entry, link, made, document)
                except (PierError, OSError) as error:
                    raise await self._refused(made, error) from error
            finally:
                document.unlink(missing_ok=True)

    async def _refused(self, made: exec_pb2.Exec, error: PierError | OSError) -> PierError:
        """It did not start: recorded, and in Docker's words."""
        problem = in_dockers_words(error) if isinstance(error, PierError) else Conflict(str(error))
        code = 127 if problem.reason == "COMMAND_NOT_FOUND" else 126

        def edit(changed: exec_pb2.Exec) -> None:
            changed.error, changed.running = problem.message, False
            changed.exit.CopyFrom(exec_pb2.Exit(code=code))

        await self._change(made.id, "exec_start.record_failure", edit)
        return problem

    async def attach_target(self, exec_id: str) -> tuple[Entry, ShimLink, exec_pb2.Exec]:
        """Make the shim know the exec, so that a client can attach before it runs."""
        made = self.need(exec_id)
        entry = self._records.need(made.container_id)
        link = self._shim(entry)
        if not made.started:
            await self._announce(entry, link, made)
            self._announced[made.id] = link
        return entry, link, made

    def need(self, exec_id: str) -> exec_pb2.Exec:
        made = self._execs.get(exec_id)
        if made is None:
            raise NotFound(f"No such exec instance: {exec_id[:64]}", reason="NO_SUCH_EXEC", field="id")
        return made

    async def get(self, exec_id: str) -> exec_pb2.Exec:
        """The exec as it is now: where its exit is on disk and the news is still on its way, the disk decides."""
        made = self.need(exec_id)
        if made.running or (made.started and not made.HasField("exit") and not made.error):
            await self._observe(made)
        return self.need(exec_id)

    def running_in(self, container_id: str) -> list[str]:
        """Ids of the execs that run in a container."""
        return [made.id for made in self._execs.values() if made.running and made.container_id == container_id]

    def ended(self, entry: Entry, exec_id: str, exit_: protocol.Exit) -> None:
        """A shim tells an end (Lives.on_exec_exit)."""
        if exec_id in self._execs:
            self._operations.spawn("exec.end", lambda: self._end_after_start(entry, exec_id, exit_))

    async def _end_after_start(self, entry: Entry, exec_id: str, exit_: protocol.Exit) -> None:
        """A process that ends at once is told to have started first."""
        async with self._locks.setdefault(exec_id, asyncio.Lock()):
            await self._record_end(entry, exec_id, exit_)

    async def adopt(self) -> None:
        """After a restart: what ran and is no longer known to any shim has ended, as its file tells or unseen."""
        for made in list(self._execs.values()):
            if made.started and not made.HasField("exit") and not made.error:
                await self._observe(made)
                entry = self._records.get(made.container_id)
                known = entry.shim.description.get("targets", {}) if entry is not None and entry.shim else {}
                if not self.need(made.id).HasField("exit") and made.id not in known:
                    await self._change(made.id, "exec_exit.record", _unseen)

    async def container_ended(self, entry: Entry) -> None:
        """The container has ended and its shim was killed: what its execs' files do not tell, nobody saw."""
        for made in list(self._execs.values()):
            if made.container_id == entry.id and made.running:
                await self._observe(made)
                if not self.need(made.id).HasField("exit"):
                    await self._change(made.id, "exec_exit.record", _unseen)

    def forget(self, container_id: str) -> None:
        """The container's record is gone, and the database's rows with it."""
        for made in [made for made in self._execs.values() if made.container_id == container_id]:
            self._forget(made.id)

    async def drop(self, exec_id: str) -> None:
        """Forget one that is of no more interest."""
        if exec_id in self._execs:
            self._forget(exec_id)
            await self._store.write("exec_drop.record", lambda connection: connection.execute(
                "DELETE FROM execs WHERE id=?", (exec_id,)
            ))

    async def _observe(self, made: exec_pb2.Exec) -> None:
        exit_ = record.read(str(self._places.exec_exit(made.container_id, made.id)))
        entry = self._records.get(made.container_id)
        if exit_ is not None and entry is not None:
            await self._record_end(entry, made.id, exit_)

    def _runtime_path(self, entry: Entry) -> str:
        return self._runtimes.paths[entry.container.spec.runtime or self._runtimes.default]

    def _shim(self, entry: Entry) -> ShimLink:
        if not entry.is_running() or entry.shim is None:
            raise Conflict(f"Container {entry.id} is not running", reason="NOT_RUNNING", field="container_id")
        return entry.shim

    async def _announce(self, entry: Entry, link: ShimLink, made: exec_pb2.Exec) -> None:
        async with stage("exec_start.announce"):
            await link.ask(
                "exec.create", target=made.id, tty=made.process.terminal, stdin=made.process.stdin_open,
                exit_path=str(self._places.exec_exit(entry.id, made.id)),
            )

    async def _write(
        self, document: Path, entry: Entry, made: exec_pb2.Exec, request: exec_pb2.ExecStartRequest
    ) -> None:
        async with stage("exec_start.document"):
            await self._pool.run(_write_document, document, entry, made.process, request)

    async def _run(self, entry: Entry, link: ShimLink, made: exec_pb2.Exec, document: Path) -> exec_pb2.Exec:
        if self._announced.pop(made.id, None) is not link:  # another shim may have taken this one's place
            await self._announce(entry, link, made)
        async with stage("exec_start.runtime_exec"):
            answer = await link.ask("exec.start", RUN_TIMEOUT, target=made.id, process=str(document))
            graft_steps(answer, "exec_start")
        pid = int(answer["pid"])
        unconfined = entry.container.spec.privileged or (
            entry.container.spec.seccomp.WhichOneof("profile") == "unconfined"
        )
        if not unconfined and await is_filtered(pid, self._runtime_path(entry)) is False:
            await link.ask("signal", target=made.id, signal=9)
            raise Conflict("the runtime applied no seccomp filter to the exec; it was killed", reason="RUNTIME_UNSAFE")

        def edit(changed: exec_pb2.Exec) -> None:
            changed.pid = pid
            changed.running = not changed.HasField("exit")

        return await self._change(made.id, "exec_start.record", edit,
                                  note=Note(f"exec_start: {_command(made)}", {"execID": made.id}))

    async def _record_end(self, entry: Entry, exec_id: str, exit_: protocol.Exit) -> None:
        made = self._execs.get(exec_id)
        if made is None or made.HasField("exit"):
            return

        def edit(changed: exec_pb2.Exec) -> None:
            changed.running = False
            changed.exit.CopyFrom(to_exit(exit_))

        await self._change(exec_id, "exec_exit.record", edit,
                           note=Note("exec_die", {"execID": exec_id, "exitCode": str(exit_.code)}))
        self._locks.pop(exec_id, None)
        await self._pool.run(self._places.exec_exit(entry.id, exec_id).unlink, missing_ok=True)
        await self._trim(entry.id)

    async def _trim(self, container_id: str) -> None:
        """Only so many ended ones are kept: a container that lives for years is probed by execs."""
        ended = [made for made in self._execs.values() if made.container_id == container_id and made.HasField("exit")]
        if len(ended) > _KEPT + _KEPT // 10:
            old = [made.id for made in sorted(ended, key=lambda made: made.exit.time.ToNanoseconds())[:-_KEPT]]
            for exec_id in old:
                self._forget(exec_id)
            await self._store.write("exec_exit.trim", lambda connection: connection.executemany(
                "DELETE FROM execs WHERE id=?", [(exec_id,) for exec_id in old]
            ))

    async def _change(
        self, exec_id: str, step: str, edit: Any, note: Note | None = None, operation: str | None = None
    ) -> exec_pb2.Exec:
        changed = exec_pb2.Exec()
        changed.CopyFrom(self.need(exec_id))
        edit(changed)
        word = self._started[exec_id] if operation is None else operation
        entry = self._records.get(changed.container_id)
        # Shown first: an end that comes while this is written must see it and not be overwritten by it.
        self._execs[exec_id], self._started[exec_id] = changed, word

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE execs SET operation=?, body=? WHERE id=?",
                               (word, changed.SerializeToString(), exec_id))
            if note is not None and entry is not None:
                self._records.append(connection, entry.container, note, None)

        await self._store.write(step, write)
        return changed

    def _forget(self, exec_id: str) -> None:
        for table in (self._execs, self._fingerprints, self._started, self._locks, self._announced):
            table.pop(exec_id, None)


def _need_running(entry: Entry) -> None:
    """Conflict (PAUSED, RESTARTING, NOT_RUNNING) where the container cannot have an exec."""
    if entry.state == PAUSED:
        raise Conflict(f"container {entry.id} is paused, unpause the container before exec", reason="PAUSED",
                       field="container_id")
    if entry.state == RESTARTING:
        raise Conflict(f"Container {entry.id} is restarting, wait until the container is running",
                       reason="RESTARTING", field="container_id")
    if entry.state != RUNNING:
        raise Conflict(f"container {entry.id} is not running", reason="NOT_RUNNING", field="container_id")


def _command(made: exec_pb2.Exec) -> str:
    return " ".join(os.fsdecode(word) for word in made.process.args)


def _mark_started(changed: exec_pb2.Exec) -> None:
    changed.started = changed.running = True


def _unseen(changed: exec_pb2.Exec) -> None:
    changed.running = False
    changed.exit.CopyFrom(to_exit(None))


def _write_document(
    path: Path, entry: Entry, process: exec_pb2.Process, request: exec_pb2.ExecStartRequest
) -> None:
    """process.json: the exec's own, upon the container's environment, user and directory."""
    spec = entry.container.spec
    beneath = exec_pb2.StartContainerRequest.FromString(entry.start).env
    merged = exec_pb2.Process()
    merged.CopyFrom(process)
    names = {value.partition(b"=")[0] for value in process.env}
    inherited = [value for value in spec.process.env if value.partition(b"=")[0] not in names]
    del merged.env[:]
    merged.env.extend([*inherited, *process.env])
    merged.cwd = process.cwd or spec.process.cwd
    merged.user = process.user or spec.process.user
    merged.no_new_privileges = process.no_new_privileges or spec.process.no_new_privileges
    if not process.additional_groups and not process.user:
        merged.additional_groups.extend(spec.process.additional_groups)
    if request.terminal_height and request.terminal_width:
        merged.terminal_height, merged.terminal_width = request.terminal_height, request.terminal_width
    with Rootfs.of(entry.container.status.pid, b"/") as rootfs:
        user = users.resolve(merged.user, merged.additional_groups, rootfs.read(b"etc/passwd"),
                             rootfs.read(b"etc/group"))
    caps = capabilities.effective(
        [*spec.process.capabilities_add, *process.capabilities_add],
        [*spec.process.capabilities_drop, *process.capabilities_drop],
        privileged=spec.privileged or process.privileged,
    )
    document = config.process(merged, user, caps, config.hostname(spec, entry.id), beneath)
    write_file(path, json.dumps(document).encode())
