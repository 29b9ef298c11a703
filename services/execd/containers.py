"""Container verbs other than start: create, complete, stop, kill, resize, remove, wait."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from chassis import ids, signals
from chassis.blocking import Pool
from chassis.config import Current
from chassis.errors import AlreadyExists, Conflict, DeadlineExceeded, InvalidArgument, NotFound, NotModified, PierError
from chassis.events import timestamp
from chassis.logs import logger
from chassis.stages import stage
from execd.changes import Changes
from execd.lives import EXITED, RESTARTING, Lives
from execd.logs import options
from execd.logs.forward import Forwards
from execd.oci import mounts, validate
from execd.places import Places
from execd.records import Entry, Note, Records, last_exit
from execd.settings import ExecdSettings
from execd.shims import ShimGone
from execd.start import CREATED, Starts
from pier.exec.v1 import exec_pb2

CREATING: Final = exec_pb2.CONTAINER_STATE_CREATING
REMOVING: Final = exec_pb2.CONTAINER_STATE_REMOVING
STOP_TIMEOUT: Final = 10
_THAW_AFTER: Final = 1.0
_HANDLED: Final = (REMOVING, exec_pb2.CONTAINER_STATE_DEAD)


class Containers:
    """The verbs over one set of records."""

    def __init__(self, records: Records, lives: Lives, starts: Starts, changes: Changes, places: Places, pool: Pool,
                 forwards: Forwards, runtimes: frozenset[str], current: Current[ExecdSettings]) -> None:
        self._records = records
        self._lives = lives
        self._starts = starts
        self._changes = changes
        self._places = places
        self._pool = pool
        self._runtimes = runtimes
        self._init = Path(current.settings.init)
        self._forwards = forwards
        self._journal = Path(current.settings.journal)
        self._current = current

    async def create(self, request: exec_pb2.CreateContainerRequest) -> tuple[exec_pb2.Container, list[str]]:
        """Take id and name. The record and its warnings."""
        container_id = ids.container_id(request.id)
        ids.name(request.name)
        ids.owner(request.owner)
        warnings = validate.container(request.spec, self._runtimes)
        options.check_host(request.spec.log, self._journal)
        if request.spec.init and not self._init.is_file():
            raise Conflict(f"this node has no init for containers: {self._init} is not there", reason="NO_INIT",
                           field="spec.init", expected="the init setting of execd to name a program")
        container = exec_pb2.Container(
            id=container_id, name=request.name, owner=request.owner, spec=request.spec, extensions=request.extensions,
            created_at=timestamp(time.time_ns()), status=exec_pb2.ContainerStatus(state=CREATING),
        )
        if request.spec.log.driver in ("", "json-file", "local"):
            container.log_path = os.fsencode(self._places.log(container_id))
        fingerprint = request.SerializeToString(deterministic=True)
        entry = await self._records.create(container, fingerprint)
        return entry.container, warnings

    async def complete(self, request: exec_pb2.CompleteContainerRequest) -> exec_pb2.Container:
        """CREATING → CREATED, with the mounts of the root file system."""
        entry = self._records.need(request.id)
        if not request.rootfs:
            raise InvalidArgument("a container needs a root file system", reason="NO_ROOTFS", field="rootfs")
        mounts.check(request.mounts)
        mounts.check_sources(request.mounts)
        async with entry.lock:
            if entry.state != CREATING:
                if list(entry.container.rootfs) == list(request.rootfs):
                    return entry.container
                raise AlreadyExists(f"container {entry.id[:12]} is complete with another root file system",
                                    reason="SPEC_DIFFERS", field="rootfs")

            def edit(container: exec_pb2.Container) -> None:
                container.rootfs.extend(request.rootfs)
                if request.mounts:
                    del container.spec.mounts[:]
                    container.spec.mounts.extend(request.mounts)
                container.status.state = CREATED

            return await self._records.change(entry, "create.record_rootfs", edit, [Note("create")])

    async def stop(self, request: exec_pb2.StopContainerRequest) -> exec_pb2.Container:
        """The stop signal, then KILL after the timeout."""
        entry = self._records.need(request.id)
        spec = entry.container.spec
        number = signals.parse(request.signal or spec.stop_signal, signal.SIGTERM, "signal")
        timeout = request.timeout if request.HasField("timeout") else (
            spec.stop_timeout if spec.HasField("stop_timeout") else STOP_TIMEOUT
        )
        async with entry.lock:
            if entry.state == RESTARTING:
                return await self._records.change(entry, "stop.record_no_restart", _ended_by_hand, [Note("stop")])
            if not entry.is_running():
                raise NotModified(f"container {entry.id[:12]} does not run", field="id")
            await self._records.change(entry, "stop.record_intent", _stopped_by_hand, [_killed(number)])
        await self._end(entry, entry.container.status.incarnation, number, timeout)
        await self._records.tell(entry, "stop.tell", Note("stop"))
        return entry.container

    async def end_unhealthy(self, entry: Entry, incarnation: int) -> None:
        """Stop life ``incarnation`` as a call would, but leave what follows to the restart policy."""
        spec = entry.container.spec
        limit = spec.stop_timeout if spec.HasField("stop_timeout") else STOP_TIMEOUT
        logger().info("an unhealthy container is stopped", container=entry.id)
        try:
            async with stage("unhealthy.stop", container=entry.id):
                await self._end(entry, incarnation, signals.parse(spec.stop_signal, signal.SIGTERM, ""), limit)
        except PierError as error:
            logger().warning("an unhealthy container does not stop", container=entry.id, error=error.message)

    async def kill(self, request: exec_pb2.KillContainerRequest) -> None:
        """Send a signal; KILL is answered at the process's end."""
        entry = self._records.need(request.id)
        number = signals.parse(request.signal, signal.SIGKILL, "signal")
        ends = number in (
            signal.SIGKILL, signals.parse(entry.container.spec.stop_signal, signal.SIGTERM, "stop_signal")
        )
        if ends and entry.state == RESTARTING:
            async with entry.lock:
                if entry.state == RESTARTING:
                    await self._records.change(entry, "kill.record_no_restart", _ended_by_hand)
                    return
        if not entry.is_running():
            raise Conflict(f"container {entry.id[:12]} is not running", reason="NOT_RUNNING", field="id")
        incarnation = entry.container.status.incarnation
        await self._records.tell(entry, "kill.tell", _killed(number))
        if ends:
            async with entry.lock:
                if entry.is_running():
                    await self._records.change(entry, "kill.record_intent", _stopped_by_hand)
        if number == signal.SIGKILL:
            async with stage("kill.wait"):
                await self._kill(entry, incarnation)
        else:
            async with stage("kill.signal", signal=number):
                await self._signal(entry, number)
            if ends:
                await self._changes.let_end(entry)

    async def resize(self, request: exec_pb2.ResizeTerminalRequest) -> None:
        """The terminal's size, of the first process or of an exec."""
        entry = self._records.need(request.id)
        for name in ("height", "width"):
            if not 1 <= getattr(request, name) <= 65535:
                raise InvalidArgument(f"{name}: {getattr(request, name)} is out of range", reason="OUT_OF_RANGE",
                                      field=name, expected="1 to 65535")
        if entry.shim is None:
            raise Conflict(f"container {entry.id[:12]} is not running", reason="NOT_RUNNING", field="id")
        await entry.shim.ask(
            "resize", target=request.exec_id or "init", rows=request.height, columns=request.width
        )

    async def begin_remove(self, request: exec_pb2.BeginRemoveRequest) -> exec_pb2.Container:
        """No start any more; a running one is killed first where that is asked."""
        entry = self._records.need(request.id)
        if (entry.is_running() or entry.state == RESTARTING) and not request.force:
            raise Conflict(
                f"You cannot remove a running container {entry.id}. Stop the container before attempting removal or "
                "force remove", reason="RUNNING", field="force",
            )
        while True:
            if entry.is_running():
                async with stage("remove.kill"):
                    await self._records.tell(entry, "remove.tell_kill", _killed(signal.SIGKILL))
                    await self._kill_for_good(entry)
            async with entry.lock:
                if not entry.is_running():
                    return await self._begin_remove(entry)
                if not request.force:
                    raise Conflict(f"container {entry.id[:12]} was started meanwhile", reason="RUNNING", field="id")
                # Its restart policy had the lock first: what runs now is killed, and then nothing restarts it.

    async def _begin_remove(self, entry: Entry) -> exec_pb2.Container:
        """The caller has the lock, and it does not run."""
        async with stage("remove.shim"):
            if entry.shim is not None:
                await self._lives.release(entry, entry.shim)
            else:
                await self._lives.end_unwatched(entry)
        if entry.state in _HANDLED:
            return entry.container

        def edit(container: exec_pb2.Container) -> None:
            container.status.state = REMOVING

        return await self._records.change(entry, "remove.record_intent", edit)

    async def finish_remove(self, request: exec_pb2.FinishRemoveRequest) -> None:
        """The record goes, then what it had on disk."""
        entry = self._records.get(request.id)
        if entry is None:
            if await self._records.tombstone(request.id) is None:
                self._records.need(request.id)
            return
        async with entry.lock:
            if entry.removed:
                return
            if entry.state != REMOVING:
                raise Conflict(f"the removal of {entry.id[:12]} was not begun", reason="BAD_STATE", field="id")
            await self._forwards.drop(entry)
            async with stage("remove.files"):
                await self._pool.run(self._places.remove_home, entry.id)
            await self._records.remove(entry)

    async def wait(self, request: exec_pb2.WaitRequest) -> AsyncIterator[exec_pb2.WaitResponse]:
        """``registered``, then the exit that the condition names."""
        try:
            entry = self._records.named(request.namespace, request.id)
        except NotFound:
            tomb = await self._records.tombstone(request.id)
            if tomb is None:
                raise
            yield exec_pb2.WaitResponse(registered=True, id=request.id)
            yield exec_pb2.WaitResponse(exit=tomb)
            return
        seen = entry.exits
        yield exec_pb2.WaitResponse(registered=True, id=entry.id)
        while not entry.removed and not _is_met(entry, request.condition, seen):
            await entry.changed()
        yield exec_pb2.WaitResponse(exit=last_exit(entry.container))

    async def _end(self, entry: Entry, incarnation: int, number: int, timeout: int) -> None:
        """Signal ``number``, and KILL after ``timeout`` seconds; never where that is negative."""
        async with stage("stop.signal", signal=number):
            await self._signal(entry, number)
        await self._changes.let_end(entry)
        async with stage("stop.wait", timeout=timeout):
            ended = await self._wait_end(entry, incarnation, None if timeout < 0 else float(timeout))
        if not ended:
            async with stage("stop.kill"):
                await self._records.tell(entry, "stop.tell_kill", _killed(signal.SIGKILL))
                await self._kill(entry, incarnation)

    async def _signal(self, entry: Entry, number: int) -> None:
        """To the one process, through the shim that has not reaped it; without a shim, through its pidfd."""
        try:
            if entry.shim is None:
                raise ShimGone("no shim")
            await entry.shim.ask("signal", target="init", signal=number)
        except ShimGone:
            if entry.pidfd < 0:
                raise Conflict(f"container {entry.id[:12]} has no process", reason="NOT_RUNNING", field="id") from None
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(entry.pidfd, number)
        except PierError as error:
            if error.reason != "BAD_STATE":  # it has ended: its record is on the way
                raise

    async def _kill_for_good(self, entry: Entry) -> None:
        """Where its process is stuck in the kernel, its end whenever it comes makes its removal go on."""
        try:
            await self._kill(entry, entry.container.status.incarnation)
        except DeadlineExceeded as error:
            async with entry.lock:
                if entry.is_running():
                    await self._records.change(entry, "remove.record_for_later", _removed_at_end)
            raise DeadlineExceeded(f"{error.message}; it is removed when it has ended", reason=error.reason,
                                   field="id") from error

    async def _kill(self, entry: Entry, incarnation: int) -> None:
        """DeadlineExceeded (STUCK) where the kernel does not let its process go."""
        if not entry.is_running():
            return
        await self._signal(entry, signal.SIGKILL)
        await self._changes.let_end(entry)
        patience = self._current.settings.kill_within
        if await self._wait_end(entry, incarnation, min(_THAW_AFTER, patience)):
            return
        await self._changes.thaw_unasked(entry)
        if not await self._wait_end(entry, incarnation, patience):
            raise DeadlineExceeded(
                f"container {entry.id[:12]} was killed and does not end: a process of it is stuck in the kernel",
                reason="STUCK", field="id",
            )

    async def _wait_end(self, entry: Entry, incarnation: int, timeout: float | None) -> bool:
        async def ended() -> None:
            while entry.is_running() and entry.container.status.incarnation == incarnation and not entry.removed:
                await entry.changed()

        try:
            await asyncio.wait_for(ended(), timeout)
        except TimeoutError:
            return False
        return True


def _killed(number: int) -> Note:
    """The event of a signal that is about to be sent: it comes before that of the end."""
    return Note("kill", {"signal": str(int(number))})


def _stopped_by_hand(container: exec_pb2.Container) -> None:
    container.status.stopped_by_hand = True


def _removed_at_end(container: exec_pb2.Container) -> None:
    container.status.remove_at_end = container.status.stopped_by_hand = True


def _ended_by_hand(container: exec_pb2.Container) -> None:
    container.status.state, container.status.stopped_by_hand = EXITED, True


def _is_met(entry: Entry, condition: exec_pb2.WaitCondition.ValueType, seen: int) -> bool:
    if condition == exec_pb2.WAIT_CONDITION_NEXT_EXIT:
        return entry.exits > seen
    if condition == exec_pb2.WAIT_CONDITION_REMOVED:
        return entry.removed
    return not entry.is_running() and entry.state in (CREATING, CREATED, EXITED, RESTARTING, *_HANDLED)
