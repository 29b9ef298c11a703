"""execd's side of archives: which container, who may not start it meanwhile, and the program's streams."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from chassis import programs
from chassis.errors import Conflict
from chassis.stages import stage
from execd.oci import mounts
from execd.places import Places
from execd.records import Entry, Note, Records
from pier.exec.v1 import exec_pb2

_PROGRAM: Final = Path(__file__).with_name("__main__.py")
_AT_ONCE: Final = 16
_OPTIONS: Final = {"ro": "ro", "rro": "ro", "bind": "bind", "rbind": "rbind"}
"""The runtime's words for how a bind is mounted, and the shim's."""
_BUSY: Final = (exec_pb2.CONTAINER_STATE_CREATING, exec_pb2.CONTAINER_STATE_REMOVING, exec_pb2.CONTAINER_STATE_DEAD)


class Archives:
    """Reads and writes over one set of records."""

    def __init__(self, records: Records, places: Places) -> None:
        self._records = records
        self._places = places
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def stat(self, request: exec_pb2.StatPathRequest) -> exec_pb2.PathStat:
        """NotFound (NO_SUCH_PATH), InvalidArgument (NOT_A_DIRECTORY)."""
        entry = self._records.need(request.id)
        async with stage("archive.stat"), self._program(entry, "stat", request.path) as process:
            return await _described(process)

    async def read(self, request: exec_pb2.ReadArchiveRequest) -> AsyncGenerator[exec_pb2.ReadArchiveResponse]:
        """The stat, then the archive in pieces."""
        entry = self._records.need(request.id)
        async with self._program(entry, "read", request.path) as process:
            async with stage("archive.read"):
                found = await _described(process)
            note = Note("archive-path", {"path": os.fsdecode(request.path)})
            await self._records.tell(entry, "archive.event", note)  # now: many a client hangs up at the archive's end
            yield exec_pb2.ReadArchiveResponse(stat=found)
            assert process.stdout is not None
            while part := await process.stdout.read(programs.PIECE):
                yield exec_pb2.ReadArchiveResponse(data=part)
            await programs.finished(process, "archive")

    async def write(self, first: exec_pb2.WriteArchiveRequest, data: AsyncIterator[bytes]) -> None:
        """Unpack ``data`` as ``first`` says. What comes after a failure is not read."""
        entry = self._records.need(first.id)
        spec = entry.container.spec
        more = {"keep_kinds": first.keep_kinds, "read_only": spec.read_only_rootfs,
                "user": (spec.process.user or None) if first.owned_by_user else None}
        async with stage("archive.write"), self._program(entry, "write", first.path, more) as process:
            assert process.stdin is not None
            with suppress(ConnectionError):  # it has failed, and says why
                async for part in data:
                    process.stdin.write(part)
                    await process.stdin.drain()
                process.stdin.close()
                await process.stdin.wait_closed()
            await programs.finished(process, "archive")
        await self._records.tell(entry, "archive.event", Note("extract-to-dir", {"path": os.fsdecode(first.path)}))

    @asynccontextmanager
    async def _program(
        self, entry: Entry, verb: str, path: bytes, more: Mapping[str, Any] | None = None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """The program at work; it has ended when the block is left. A container that does not run is held still."""
        request: dict[str, Any] = {"verb": verb, "path": os.fsdecode(path), **(more or {})}
        async with self._turns, _held(entry) as pidfd:
            if pidfd is None:
                request |= self._mounts(entry)
            else:
                request["pidfd"] = pidfd
                request["read_only"] = False  # the kernel says so itself
            async with programs.running(_PROGRAM, request, () if pidfd is None else (pidfd,)) as process:
                yield process

    def _mounts(self, entry: Entry) -> dict[str, Any]:
        """What the shim and the runtime would mount at a start, as far as it is files."""
        specs = entry.container.spec.mounts
        overlays = [spec for spec in specs if spec.type == mounts.OVERLAY]
        places = {spec.target: f"{self._places.archives}/binds/{number}" for number, spec in enumerate(overlays)}
        binds = [
            {"type": "bind", "source": each["source"], "target": each["destination"],
             "options": [*(_OPTIONS[option] for option in each["options"] if option in _OPTIONS),
                         *([f"subpath={os.fsdecode(spec.subpath)}"] if spec.subpath else [])]}
            for spec, each in zip(specs, mounts.from_spec(specs, places), strict=True) if each["type"] == "bind"
        ]
        for name in ("hosts", "resolv.conf", "hostname"):
            file = self._places.file(entry.id, name)
            if file.exists():
                binds.append({"type": "bind", "source": str(file), "target": f"/etc/{name}", "options": ["bind"]})
        return {"run_dir": str(self._places.archives), "binds": binds,
                "layers": [{**mounts.for_shim(each), "target": f"@/{number}"} for number, each in enumerate(overlays)],
                "rootfs": [mounts.for_shim(each) for each in entry.container.rootfs]}


@asynccontextmanager
async def _held(entry: Entry) -> AsyncIterator[int | None]:
    """A pidfd of the container's process, or None with the container's lock held: nothing starts or removes it."""
    await entry.lock.acquire()
    try:
        if entry.removed or entry.state in _BUSY:
            raise Conflict(f"container {entry.id} is being made or removed", reason="BUSY", field="id")
        pidfd = os.dup(entry.pidfd) if entry.is_running() and entry.pidfd >= 0 else None
        if pidfd is None and entry.is_running():
            raise Conflict(f"container {entry.id} cannot be entered", reason="BUSY", field="id")
        if pidfd is None:
            yield None
            return
    finally:
        entry.lock.release()
    try:
        yield pidfd
    finally:
        os.close(pidfd)


async def _described(process: asyncio.subprocess.Process) -> exec_pb2.PathStat:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        await programs.finished(process, "archive")
    fields = json.loads(line)
    stat = exec_pb2.PathStat(
        name=os.fsencode(fields["name"]), size=fields["size"], mode=fields["mode"],
        link_target=os.fsencode(fields["link_target"]),
    )
    stat.mtime.FromNanoseconds(fields["mtime"])
    return stat
