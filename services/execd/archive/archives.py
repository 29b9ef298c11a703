"""execd's side of archives: which container, who may not start it meanwhile, and the program's streams."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from chassis import errors
from chassis.errors import Conflict, Internal
from chassis.stages import stage
from execd.oci import mounts
from execd.places import Places
from execd.records import Entry, Note, Records
from pier.exec.v1 import exec_pb2
from pier.types.v1 import types_pb2

_PROGRAM: Final = Path(__file__).with_name("__main__.py")
_PIECE: Final = 256 << 10
_AT_ONCE: Final = 16
_BUSY: Final = (exec_pb2.CONTAINER_STATE_CREATING, exec_pb2.CONTAINER_STATE_REMOVING, exec_pb2.CONTAINER_STATE_DEAD)


class Archives:
    """Reads and writes over one set of records. ``shim_mount`` puts a root file system's mount in the shim's words."""

    def __init__(
        self, records: Records, places: Places, shim_mount: Callable[[types_pb2.MountSpec], dict[str, Any]]
    ) -> None:
        self._records = records
        self._places = places
        self._shim_mount = shim_mount
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def stat(self, request: exec_pb2.StatPathRequest) -> exec_pb2.PathStat:
        """NotFound (NO_SUCH_PATH), InvalidArgument (NOT_A_DIRECTORY)."""
        entry = self._records.need(request.id)
        async with stage("archive.stat"), self._program(entry, "stat", request.path) as program:
            return await _described(program)

    async def read(self, request: exec_pb2.ReadArchiveRequest) -> AsyncGenerator[exec_pb2.ReadArchiveResponse]:
        """The stat, then the archive in pieces."""
        entry = self._records.need(request.id)
        async with self._program(entry, "read", request.path) as program:
            async with stage("archive.read"):
                found = await _described(program)
            note = Note("archive-path", {"path": os.fsdecode(request.path)})
            await self._records.tell(entry, "archive.event", note)  # now: many a client hangs up at the archive's end
            yield exec_pb2.ReadArchiveResponse(stat=found)
            assert program.stdout is not None
            while part := await program.stdout.read(_PIECE):
                yield exec_pb2.ReadArchiveResponse(data=part)
            await _finished(program)

    async def write(self, first: exec_pb2.WriteArchiveRequest, data: AsyncIterator[bytes]) -> None:
        """Unpack ``data`` as ``first`` says. What comes after a failure is not read."""
        entry = self._records.need(first.id)
        spec = entry.container.spec
        more = {"keep_kinds": first.keep_kinds, "read_only": spec.read_only_rootfs,
                "user": (spec.process.user or None) if first.owned_by_user else None}
        async with stage("archive.write"), self._program(entry, "write", first.path, more) as program:
            assert program.stdin is not None
            with suppress(ConnectionError):  # it has failed, and says why
                async for part in data:
                    program.stdin.write(part)
                    await program.stdin.drain()
                program.stdin.close()
                await program.stdin.wait_closed()
            await _finished(program)
        await self._records.tell(entry, "archive.event", Note("extract-to-dir", {"path": os.fsdecode(first.path)}))

    @asynccontextmanager
    async def _program(
        self, entry: Entry, verb: str, path: bytes, more: Mapping[str, Any] | None = None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """The program at work; it has ended when the block is left. A container that does not run is held still."""
        request: dict[str, Any] = {"execd": os.getpid(), "verb": verb, "path": os.fsdecode(path), **(more or {})}
        async with self._turns, _held(entry) as pidfd:
            if pidfd is None:
                request |= self._mounts(entry)
            else:
                request["pidfd"] = pidfd
                request["read_only"] = False  # the kernel says so itself
            program = await asyncio.create_subprocess_exec(
                sys.executable, "-I", str(_PROGRAM), json.dumps(request), stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=_PIECE,
                pass_fds=() if pidfd is None else (pidfd,), env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            )
            try:
                yield program
            finally:
                with suppress(ProcessLookupError):
                    program.send_signal(signal.SIGKILL)
                await program.wait()

    def _mounts(self, entry: Entry) -> dict[str, Any]:
        """What the shim and the runtime would mount at a start, as far as it is files."""
        binds = [
            {"type": "bind", "source": each["source"], "target": each["destination"],
             "options": [option for option in each["options"] if option in ("ro", "rbind", "bind")]}
            for each in mounts.from_spec(entry.container.spec.mounts, {}) if each["type"] == "bind"
        ]
        for name in ("hosts", "resolv.conf", "hostname"):
            file = self._places.file(entry.id, name)
            if file.exists():
                binds.append({"type": "bind", "source": str(file), "target": f"/etc/{name}", "options": ["bind"]})
        return {"run_dir": str(self._places.archives), "binds": binds,
                "rootfs": [self._shim_mount(each) for each in entry.container.rootfs]}


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


async def _described(program: asyncio.subprocess.Process) -> exec_pb2.PathStat:
    assert program.stdout is not None
    line = await program.stdout.readline()
    if not line:
        await _finished(program)
    fields = json.loads(line)
    stat = exec_pb2.PathStat(
        name=os.fsencode(fields["name"]), size=fields["size"], mode=fields["mode"],
        link_target=os.fsencode(fields["link_target"]),
    )
    stat.mtime.FromNanoseconds(fields["mtime"])
    return stat


async def _finished(program: asyncio.subprocess.Process) -> None:
    """Raise what it failed with, if it did."""
    assert program.stderr is not None
    said = await program.stderr.read()
    if await program.wait() == 0:
        return
    try:
        code, reason, message, field = json.loads(said.splitlines()[-1])
    except (ValueError, IndexError):
        raise Internal(f"archive: the program failed: {said.decode(errors='replace')[-500:]}") from None
    raise errors.from_grpc(code, message, reason=reason, field=field)
