"""The lives of containers: which shim holds one, what it tells, how an end is recorded, and who is left after a kill.

One shim per life. It is forked by the first Attach or Start; what it tells comes in order and is recorded under the
container's lock; when the end is on record the shim is told to release, and the next life gets a shim of its own.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from chassis import kernel
from chassis.blocking import Pool
from chassis.errors import Conflict, PierError, Unavailable
from chassis.events import timestamp
from chassis.logs import logger
from chassis.operations import Operations
from chassis.stages import stage
from execd import policy, statistics, successors
from execd.logs import options, tag
from execd.places import Places
from execd.records import Entry, Note, Records
from execd.runtimes import Runtimes
from execd.shim import protocol, record
from execd.shims import Answer, ShimGone, ShimLink, Zygote, is_alive
from pier.exec.v1 import exec_pb2

RUNNING: Final = exec_pb2.CONTAINER_STATE_RUNNING
EXITED: Final = exec_pb2.CONTAINER_STATE_EXITED
REMOVING: Final = exec_pb2.CONTAINER_STATE_REMOVING
RESTARTING: Final = exec_pb2.CONTAINER_STATE_RESTARTING
_STARTABLE: Final = (exec_pb2.CONTAINER_STATE_CREATED, EXITED, RESTARTING)
_REAP_TRIES: Final = 200
ExecEnded = Callable[[Entry, str, protocol.Exit], None]


class Lives:
    """Shims of all containers. ``on_exec_exit`` is told each exec's end, ``on_unseen_end`` a container's whose shim was
    killed: nobody will tell of its execs any more; ``on_another`` each that its policy gives another life;
    ``on_rotated`` each whose log has another old file."""

    def __init__(
        self, records: Records, places: Places, zygote: Zygote, runtimes: Runtimes, operations: Operations, pool: Pool,
    ) -> None:
        self._records = records
        self._places = places
        self._zygote = zygote
        self._runtimes = runtimes
        self._operations = operations
        self._pool = pool
        self.on_exec_exit: ExecEnded | None = None
        self.on_unseen_end: Callable[[Entry], Coroutine[Any, Any, None]] | None = None
        self.on_another: Callable[[Entry], None] | None = None
        self.on_rotated: Callable[[Entry], None] | None = None

    async def shim_for_next(self, entry: Entry, step: str) -> ShimLink:
        """The shim of the next life of a container that does not run: the one that an Attach forked, or a new one."""
        if entry.state not in _STARTABLE:
            raise Conflict(f"container {entry.id[:12]} is {_word(entry)}", reason="BAD_STATE", field="id")
        incarnation = entry.container.status.incarnation + 1
        return await self.shim_for(entry, incarnation, step)

    async def shim_to_attach(self, entry: Entry) -> ShimLink | None:
        """Of the life that runs, else of the next; None where it runs without one."""
        async with entry.lock:
            return entry.shim if entry.is_running() else await self.shim_for_next(entry, "attach.shim_fork")

    async def shim_for(self, entry: Entry, incarnation: int, step: str) -> ShimLink:
        if entry.shim is not None and entry.shim.incarnation == incarnation and not entry.shim.released:
            return entry.shim
        link = self._link(entry, incarnation)
        async with stage(step, incarnation=incarnation):
            self._places.make_home(entry.id)
            if await self._pool.run(is_alive, link.run_dir):
                await link.connect(link.run_dir / protocol.CONTROL_SOCKET)
            else:
                await self._zygote.fork(link, self._shim_spec(entry, incarnation))
        entry.shim = link
        await link.watch()
        if _needs_form(entry) > link.description["log"].get("form", 1):
            await self.release(entry, link)
            raise Unavailable("the zygote is older than execd, its shims do not know these log options: start it anew",
                              reason="OLD_ZYGOTE")
        return link

    async def adopt(self, entry: Entry, incarnation: int) -> ShimLink | None:
        """Connect to the living shim of a life, None where there is none."""
        link = self._link(entry, incarnation)
        if not await self._pool.run(is_alive, link.run_dir):
            return None
        try:
            await link.connect(link.run_dir / protocol.CONTROL_SOCKET)
            entry.shim = link
            await link.watch()
        except ShimGone:
            entry.shim = None
            return None
        return link

    def _link(self, entry: Entry, incarnation: int) -> ShimLink:
        link = ShimLink(self._places.run_dir(entry.id, incarnation), self._event, self._lost)
        link.container, link.incarnation = entry.id, incarnation
        return link

    def _shim_spec(self, entry: Entry, incarnation: int) -> protocol.ShimSpec:
        process = entry.container.spec.process
        kept = options.judge(entry.container.spec.log)
        return protocol.ShimSpec(
            id=entry.id, run_dir=str(self._places.run_dir(entry.id, incarnation)),
            cgroup_parent=self._places.cgroup_parent, tty=process.terminal, stdin=process.stdin_open,
            stdin_once=process.stdin_once, exit_path=str(self._places.exit(entry.id, incarnation)),
            log=protocol.LogSpec(
                "none" if kept.driver == "none" else "json", str(self._places.log(entry.id)), kept.max_bytes,
                kept.max_files, tag.record_attributes(entry.container),
            ),
        )

    async def close(self) -> None:
        """Let every shim be: they stay, and so do the containers."""
        for entry in self._records:
            if entry.shim is not None:
                link, entry.shim = entry.shim, None
                await link.close()
            self.drop_pidfd(entry)

    # What shims tell.

    def _event(self, link: ShimLink, message: Answer) -> None:
        entry = self._records.get(link.container)
        if entry is None:
            return
        if message["event"] == "exit":
            exit_ = protocol.Exit(**message["exit"])
            if message["target"] == "init":
                self._operations.spawn("exit.record", lambda: self._ended(entry, link, exit_))
            elif self.on_exec_exit is not None:
                self.on_exec_exit(entry, message["target"], exit_)
        elif message["event"] == "detached":
            target = message["target"]
            note = Note("detach") if target == "init" else Note("exec_detach", {"execID": target})
            self._operations.spawn("detach.tell", lambda: self._records.tell(entry, "detach.tell", note))
        elif message["event"] == "log_lost":
            statistics.LOG_LOST.inc(int(message["bytes"]))
            logger().error("output was not logged", container=entry.id, bytes=message["bytes"], error=message["error"])
            self.log_lost(entry, int(message["bytes"]))
        elif message["event"] == "log_rotated" and self.on_rotated is not None:
            self.on_rotated(entry)

    def _lost(self, link: ShimLink) -> None:
        entry = self._records.get(link.container)
        if entry is not None and entry.shim is link:
            logger().warning("a shim was killed", container=link.container, incarnation=link.incarnation)
            entry.shim = None
            self._operations.spawn("shim.lost", lambda: self.without_shim(entry, link.incarnation))

    def log_lost(self, entry: Entry, count: int) -> None:
        """Keep with the container that ``count`` bytes of its output will not be where it was asked for."""
        self._operations.spawn("log.lost", lambda: self._log_lost(entry, count))

    async def _log_lost(self, entry: Entry, count: int) -> None:
        async with entry.lock:
            if not entry.removed:
                await self._records.change(entry, "log.lost", lambda container: _add_loss(container, count))

    async def _ended(self, entry: Entry, link: ShimLink, exit_: protocol.Exit) -> None:
        async with entry.lock:
            if entry.container.status.incarnation == link.incarnation:
                await self.record_end(entry, exit_)
            await self.release(entry, link)

    async def record_end(self, entry: Entry, exit_: protocol.Exit | None, *, final: bool = False) -> None:
        """Make the end of the current life durable and tell it; None is an end that nobody could see. The caller holds
        the lock. Nothing where it is on record already. ``final``: no restart policy follows it with another life."""
        if entry.removed or not entry.is_running():
            return
        told = to_exit(exit_)
        notes = [Note("oom")] if told.oom_killed else []
        notes.append(Note("die", {"exitCode": str(told.code) if told.HasField("code") else ""}))
        another = not final and self.on_another is not None and policy.wants_another(entry.container, told)

        def edit(container: exec_pb2.Container) -> None:
            status = container.status
            status.state, status.pid = RESTARTING if another else REMOVING if status.remove_at_end else EXITED, 0
            status.exit.CopyFrom(told)
            status.finished_at.CopyFrom(told.time)

        self.drop_pidfd(entry)
        await self._records.change(entry, "exit.record", edit, notes, time_ns=exit_.time if exit_ else None)
        statistics.EXITS.labels(statistics.how(told)).inc()
        # Before any waiter runs: a wait that is registered from now on is for another end.
        entry.exits += 1
        if another and self.on_another is not None:
            self.on_another(entry)

    async def release(self, entry: Entry, link: ShimLink) -> None:
        """Delete the ended life from the runtime and let its shim go. The caller holds the lock."""
        runtime = entry.container.spec.runtime or self._runtimes.default
        async with stage("exit.release", incarnation=link.incarnation):
            link.released = True
            try:
                await link.ask("release", cgroup=self._places.cgroup(entry.container), runtime={
                    "path": self._runtimes.paths[runtime], "root": str(self._runtimes.root),
                })
            except ShimGone:
                pass
            except PierError:
                link.released = False
                raise
        if entry.shim is link:
            entry.shim = None
        # Not left to the shim's own end: asyncio holds a reader weakly, a link that nobody owns is garbage, not closed.
        await link.close()
        await self._pool.run(self._places.remove_run_dir, link.run_dir)

    # After a kill.

    async def without_shim(self, entry: Entry, incarnation: int) -> None:
        """See a life to its end whose shim was killed: its exit record, its process, or nothing is left to tell."""
        status = entry.container.status
        if entry.removed or status.incarnation != incarnation or not entry.is_running():
            return
        exit_ = record.read(str(self._places.exit(entry.id, incarnation)))
        if exit_ is None and entry.held and await self._succeeded(entry, incarnation):
            if self.on_unseen_end is not None:
                await self.on_unseen_end(entry)
            return
        if exit_ is None:
            self.open_pidfd(entry, status.pid)
            if entry.pidfd >= 0:
                exit_ = await self._await_pidfd(entry.pidfd)
        async with entry.lock:
            if entry.container.status.incarnation == incarnation:
                await self.record_end(entry, exit_)
                await self.clean_up(entry, incarnation)
        if self.on_unseen_end is not None:
            await self.on_unseen_end(entry)

    async def _succeeded(self, entry: Entry, incarnation: int) -> bool:
        """Whether another shim has taken the place of the killed one, and will tell the end as that one would have."""
        async with entry.lock:
            if entry.removed or entry.container.status.incarnation != incarnation or not entry.is_running():
                return False
            link, runtime = self._link(entry, incarnation), entry.container.spec.runtime or self._runtimes.default
            async with stage("shim.succeed", incarnation=incarnation):
                spec = self._shim_spec(entry, incarnation)
                if not await successors.fork(self._zygote, link, spec, entry, {
                    "cgroup": self._places.cgroup(entry.container),
                    "runtime": {"path": self._runtimes.paths[runtime], "root": str(self._runtimes.root)},
                }):
                    return False
            entry.shim = link
        init = (await link.watch())["targets"]["init"]
        if init["state"] == protocol.ENDED:  # before we watched
            self._event(link, {"event": "exit", "target": "init", "exit": init["exit"]})
        return True

    async def clean_up(self, entry: Entry, incarnation: int) -> None:
        """What a killed shim has left is deleted by a fresh one. The caller holds the lock."""
        link = self._link(entry, incarnation)
        self._places.make_home(entry.id)
        await self._zygote.fork(link, self._shim_spec(entry, incarnation))
        await self.release(entry, link)

    async def end_unwatched(self, entry: Entry) -> None:
        """Let go of a shim whose fork was answered too late: it is there, and nobody is connected. The caller holds
        the lock, and the container does not run."""
        incarnation = entry.container.status.incarnation
        run_dirs = [self._places.run_dir(entry.id, number) for number in (incarnation, incarnation + 1)]
        for run_dir in await self._pool.run(lambda: [each for each in run_dirs if is_alive(each)]):
            await self.end_stray(run_dir)
            await self._pool.run(self._places.remove_run_dir, run_dir)

    async def end_stray(self, run_dir: Path) -> None:
        """Kill and release what a shim that no record has may hold."""
        link = ShimLink(run_dir, _ignore_event, _ignore_loss)
        await link.connect(run_dir / protocol.CONTROL_SOCKET)
        try:
            for _ in range(_REAP_TRIES):
                state = (await link.ask("describe"))["state"]
                if state not in (protocol.RUNNING, protocol.STARTING):
                    break
                if state == protocol.RUNNING:
                    await link.ask("signal", target="init", signal=9)
                await asyncio.sleep(0.01)  # until its end is recorded
            await link.ask("release", runtime=self._default_runtime())
        finally:
            await link.close()

    async def delete_from_runtime(self, container: str) -> None:
        """Delete what the default runtime still has under an id that no record has."""
        run_dir = self._places.run_dir(container, 0)
        link = ShimLink(run_dir, _ignore_event, _ignore_loss)
        spec = protocol.ShimSpec(
            container, str(run_dir), self._places.cgroup_parent, tty=False, stdin=False, stdin_once=False,
            exit_path=str(run_dir / "exit.json"), log=protocol.LogSpec("none", "", 0, 1),
        )
        await self._zygote.fork(link, spec)
        try:
            cgroup = f"{self._places.cgroup_parent}/{container}"
            await link.ask("release", runtime=self._default_runtime(), cgroup=cgroup)
        finally:
            await link.close()
            self._places.remove_run_dir(run_dir)

    def _default_runtime(self) -> dict[str, str]:
        return {"path": self._runtimes.paths[self._runtimes.default], "root": str(self._runtimes.root)}

    def is_in_runtime(self, entry: Entry) -> bool:
        """Whether the runtime still keeps state of the container's."""
        return (self._runtimes.root / entry.id).exists()

    def open_pidfd(self, entry: Entry, pid: int) -> None:
        """Hold the first process by a descriptor, if ``pid`` still is a process in the container's cgroup."""
        if entry.pidfd >= 0 or not pid:
            return
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        if entry.id in _cgroups_of(pid):
            entry.pidfd = pidfd
        else:
            os.close(pidfd)

    def drop_pidfd(self, entry: Entry) -> None:
        successors.let_go(entry)
        if entry.pidfd >= 0:
            os.close(entry.pidfd)
            entry.pidfd = -1

    async def _await_pidfd(self, pidfd: int) -> protocol.Exit | None:
        """The end of a process that is nobody's child here; None where the kernel cannot tell how."""
        pidfd = os.dup(pidfd)
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        try:
            loop.add_reader(pidfd, ended.set)
            try:
                await ended.wait()
            finally:
                loop.remove_reader(pidfd)
            time_ns = time.time_ns()
            for _ in range(_REAP_TRIES):
                status = kernel.pidfd_exit_status(pidfd)
                if status is not None:
                    return record.from_status(status, False, time_ns)
                await asyncio.sleep(0.01)  # until whoever inherited it has reaped it
            return None
        finally:
            os.close(pidfd)


def _needs_form(entry: Entry) -> int:
    """The least form of the log that the container's options need."""
    log = entry.container.spec.log
    kept = options.judge(log)
    asked = kept.is_sent or (kept.compress and "compress" in log.options) or tag.record_attributes(entry.container)
    return 2 if asked else 1


def _ignore_event(_link: ShimLink, _message: Answer) -> None:
    return


def _ignore_loss(_link: ShimLink) -> None:
    return


def to_exit(exit_: protocol.Exit | None) -> exec_pb2.Exit:
    """The contract's Exit; one that nobody could see has no code."""
    if exit_ is None or exit_.code == protocol.UNSEEN:
        return exec_pb2.Exit(time=timestamp(exit_.time if exit_ else time.time_ns()))
    return exec_pb2.Exit(code=exit_.code, signal=exit_.signal, oom_killed=exit_.oom, time=timestamp(exit_.time))


def _cgroups_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _add_loss(container: exec_pb2.Container, count: int) -> None:
    container.status.log_bytes_lost += count


def _word(entry: Entry) -> str:
    return exec_pb2.ContainerState.Name(entry.state).removeprefix("CONTAINER_STATE_").lower()
