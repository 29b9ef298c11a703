"""Changes of a container that goes on living: pause, unpause, rename, what its manager keeps with it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from typing import Final

from chassis import ids
from chassis.blocking import Pool
from chassis.errors import Conflict, DeadlineExceeded, InvalidArgument
from chassis.stages import stage
from execd import name_files
from execd.freezer import Freezer
from execd.oci import validate
from execd.places import Places, write_file
from execd.records import Entry, Note, Records
from pier.exec.v1 import exec_pb2

FREEZE_WITHIN: Final = 10.0
_PAUSE: Final = 0.005
_MESSAGE_MAX: Final = 4096
_TOLD: Final = ("commit", "export", "restart")
RUNNING: Final = exec_pb2.CONTAINER_STATE_RUNNING
PAUSED: Final = exec_pb2.CONTAINER_STATE_PAUSED
RESTARTING: Final = exec_pb2.CONTAINER_STATE_RESTARTING


class Changes:
    """The verbs over one set of records. Whether a container is paused is the kernel's word: a record follows it."""

    def __init__(self, records: Records, places: Places, pool: Pool) -> None:
        self._records = records
        self._places = places
        self._pool = pool

    async def pause(self, request: exec_pb2.PauseContainerRequest) -> None:
        """Freeze all its processes. Conflict (NOT_RUNNING, PAUSED)."""
        entry = self._records.need(request.id)
        async with entry.lock:
            if entry.state == PAUSED:
                raise Conflict(f"Container {entry.id} is already paused", reason="PAUSED", field="id")
            if not entry.is_running():
                raise Conflict(f"Container {entry.id} is not running", reason="NOT_RUNNING", field="id")
            async with stage("pause.freeze"):
                await self._freeze(entry)
            await self._records.change(entry, "pause.record", _to(PAUSED), [Note("pause")])

    async def unpause(self, request: exec_pb2.UnpauseContainerRequest) -> None:
        """Let them go on. Conflict (NOT_PAUSED)."""
        entry = self._records.need(request.id)
        async with entry.lock:
            if entry.state != PAUSED:
                raise Conflict(f"Container {entry.id} is not paused", reason="NOT_PAUSED", field="id")
            await self._thaw(entry, "unpause")

    async def let_end(self, entry: Entry) -> None:
        """A paused one has been sent a signal that is to end it: it must run to take it."""
        async with entry.lock:
            if entry.state == PAUSED:
                await self._thaw(entry, "stop")

    async def thaw_unasked(self, entry: Entry) -> None:
        """Somebody else has frozen it, and it is to end."""
        async with stage("kill.thaw"):
            await self._pool.run(self._freezer(entry).thaw)

    async def adopt(self, entry: Entry) -> None:
        """After a restart: the record follows the kernel."""
        frozen = await self._pool.run(self._is_frozen, entry)
        if entry.is_running() and frozen != (entry.state == PAUSED):
            note = Note("pause" if frozen else "unpause")
            await self._records.change(entry, "adopt.record_paused", _to(PAUSED if frozen else RUNNING), [note])

    async def rename(self, request: exec_pb2.RenameContainerRequest) -> None:
        """Take another name. AlreadyExists (NAME_TAKEN)."""
        entry = self._records.need(request.id)
        await self._records.rename(entry, ids.name(request.name))

    async def set_extension(self, request: exec_pb2.SetExtensionRequest) -> None:
        """Keep another value for a manager."""
        entry = self._records.need(request.id)
        ids.key(request.key, "key")

        def edit(container: exec_pb2.Container) -> None:
            container.extensions[request.key].CopyFrom(request.value)

        async with entry.lock:
            await self._records.change(entry, "set_extension.record", edit)

    async def record_failure(self, request: exec_pb2.RecordFailureRequest) -> None:
        """Keep why a start failed that never came here."""
        entry = self._records.need(request.id)

        def edit(container: exec_pb2.Container) -> None:
            container.status.error = request.message[:_MESSAGE_MAX]
            container.status.exit.CopyFrom(exec_pb2.Exit(code=128))
            container.status.exit.time.GetCurrentTime()

        async with entry.lock:
            if not entry.is_running() and entry.state != RESTARTING:
                await self._records.change(entry, "record_failure.record", edit)

    async def record_event(self, request: exec_pb2.RecordEventRequest) -> None:
        """Tell what somebody else did with it."""
        entry = self._records.need(request.id)
        if request.action not in _TOLD:
            raise InvalidArgument(f"action: {request.action[:40]!a} is none that is told for others",
                                  reason="BAD_FIELD", field="action", expected=", ".join(_TOLD))
        await self._records.tell(entry, "record_event.tell", Note(request.action, dict(request.attributes)))

    async def set_name_files(self, request: exec_pb2.SetNameFilesRequest) -> None:
        """Change the engine's files, for this life and those of its restart policy. Conflict (NOT_RUNNING)."""
        validate.environment(request.env, "env")
        entry = self._records.need(request.id)
        async with entry.lock:
            if not entry.is_running() and entry.state != RESTARTING:
                raise Conflict(f"Container {entry.id} is not running", reason="NOT_RUNNING", field="id")
            start = exec_pb2.StartContainerRequest.FromString(entry.start)
            async with stage("set_name_files.write"):
                await self._pool.run(self._write_name_files, start, request)
            start.hosts, start.resolv_conf, start.env[:] = request.hosts, request.resolv_conf, request.env
            kept = start.SerializeToString()

            def also(connection: sqlite3.Connection) -> None:
                connection.execute("UPDATE containers SET start=? WHERE id=?", (kept, entry.id))

            await self._records.change(entry, "set_name_files.record", lambda _container: None, also=also)
            entry.start = kept

    def _write_name_files(
        self, before: exec_pb2.StartContainerRequest, after: exec_pb2.SetNameFilesRequest
    ) -> None:
        for name, merged in (("hosts", name_files.hosts), ("resolv_conf", name_files.resolv_conf)):
            path = self._places.file(after.id, name.replace("_", "."))
            now = path.read_bytes()
            wanted = merged(getattr(before, name), getattr(after, name), now)
            if wanted != now:
                write_file(path, wanted)

    async def _freeze(self, entry: Entry) -> None:
        """DeadlineExceeded (STUCK) where a process is stuck in the kernel; then none stays frozen."""
        freezer, deadline = self._freezer(entry), time.monotonic() + FREEZE_WITHIN
        while not await self._pool.run(freezer.freeze):
            if time.monotonic() > deadline:
                await self._pool.run(freezer.thaw)
                raise DeadlineExceeded(f"the processes do not freeze within {FREEZE_WITHIN:.0f} s", reason="STUCK")
            await asyncio.sleep(_PAUSE)

    async def _thaw(self, entry: Entry, verb: str) -> None:
        async with stage(f"{verb}.thaw"):
            await self._pool.run(self._freezer(entry).thaw)
        await self._records.change(entry, f"{verb}.record_running", _to(RUNNING), [Note("unpause")])

    def _freezer(self, entry: Entry) -> Freezer:
        return Freezer(self._places.cgroup(entry.container))

    def _is_frozen(self, entry: Entry) -> bool:
        return self._freezer(entry).is_frozen()


def _to(state: exec_pb2.ContainerState.ValueType) -> Callable[[exec_pb2.Container], None]:
    def edit(container: exec_pb2.Container) -> None:
        container.status.state = state

    return edit
