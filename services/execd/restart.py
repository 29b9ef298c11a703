"""What execd does when it is there again: look at shims, exit records and processes, and carry on.

The database says what was meant; what is, the shims and the kernel say.
"""

from __future__ import annotations

from pathlib import Path

from chassis import store
from chassis.errors import PierError
from chassis.logs import logger
from chassis.operations import Operations
from chassis.stages import stage
from chassis.store import Store
from execd import successors, updates
from execd.changes import Changes
from execd.execs import Execs
from execd.lives import EXITED, RESTARTING, Lives
from execd.places import Places
from execd.records import Entry, Records
from execd.restarts import Restarts
from execd.runtimes import Runtimes
from execd.shim import cgroups, protocol, record
from execd.shims import ShimGone, is_alive
from execd.start import VERB, Starts
from execd.strays import stray_cgroups
from execd.updates import Updates
from pier.exec.v1 import exec_pb2


class Restart:
    """``carry_on`` runs once, before the service serves."""

    def __init__(
        self, store_: Store, records: Records, lives: Lives, starts: Starts, changes: Changes, updates_: Updates,
        execs: Execs, restarts: Restarts, places: Places, operations: Operations, runtimes: Runtimes, boot_id: str,
    ) -> None:
        self._store = store_
        self._records = records
        self._lives = lives
        self._starts = starts
        self._changes = changes
        self._updates = updates_
        self._execs = execs
        self._restarts = restarts
        self._places = places
        self._operations = operations
        self._boot_id = boot_id
        self._runtimes = runtimes

    async def carry_on(self) -> None:
        """Finish or undo what was begun, take up what runs, and let go what nobody owns."""
        async with stage("restart.intents"):
            for intent in await self._store.read(store.unfinished):
                entry = self._records.get(intent.key.partition(":")[2])
                if intent.verb == VERB and entry is not None:
                    await self._starts.settle(entry, int(intent.body))
                elif intent.verb == updates.VERB and entry is not None:
                    await self._updates.settle(entry, intent.body)
        async with stage("restart.containers"):
            for entry in self._records:
                try:
                    await self._take_up(entry)
                except (PierError, OSError) as error:
                    logger().error("a container could not be taken up", container=entry.id, error=str(error))
        async with stage("restart.execs"):
            await self._execs.adopt()
        async with stage("restart.strays"):
            for run_dir in self.strays():
                await self.let_go(run_dir)
            for cgroup in self._stray_cgroups():
                if not cgroups.remove_container(cgroup):
                    logger().warning("a cgroup without a record is busy", cgroup=cgroup)

    def _stray_cgroups(self) -> set[str]:
        """Cgroups of no container that runs: a probe's or a release's that a kill came between."""
        known = {entry.id for entry in self._records if entry.is_running()}
        parents = [Path(hierarchy.mount) / self._places.cgroup_parent for hierarchy in cgroups.hierarchies()]
        return {
            str(path.relative_to(parent.parent)) for parent in parents for path in stray_cgroups(parent, known)
        }

    async def _take_up(self, entry: Entry) -> None:
        status = entry.container.status
        if entry.is_running():
            if entry.container.boot_id != self._boot_id:
                async with entry.lock:
                    await self._lives.record_end(entry, record.read(self._exit(entry)), final=True)
                return
            link = entry.shim or await self._lives.adopt(entry, status.incarnation)
            if link is None:
                self._operations.spawn("shim.lost", lambda: self._lives.without_shim(entry, status.incarnation))
                return
            init = link.description["targets"]["init"]
            if init["state"] == protocol.CREATED:  # execd was killed before it could tell a successor what to take over
                entry.shim = None
                await successors.dismiss(link)
                self._operations.spawn("shim.lost", lambda: self._lives.without_shim(entry, status.incarnation))
            elif init["state"] == protocol.ENDED:
                async with entry.lock:
                    await self._lives.record_end(entry, protocol.Exit(**init["exit"]))
                    await self._lives.release(entry, link)
            else:
                self._lives.open_pidfd(entry, status.pid)
                successors.hold(entry, link, init.get("held", {}))
                async with entry.lock:
                    await self._changes.adopt(entry)
            return
        if status.incarnation:
            async with entry.lock:
                last = await self._lives.adopt(entry, status.incarnation)
                if last is not None:
                    await self._lives.release(entry, last)
                elif self._lives.is_in_runtime(entry):
                    await self._lives.clean_up(entry, status.incarnation)
                self._places.remove_run_dir(self._places.run_dir(entry.id, status.incarnation))
        if entry.state == RESTARTING:
            if entry.container.boot_id == self._boot_id:
                self._restarts.schedule(entry)
            else:
                await self._records.change(entry, "restart.record_reboot", _ended)
        # One that an Attach forked and no Start has used yet; a removal lets it go.
        if await self._lives.adopt(entry, status.incarnation + 1) is None:
            self._places.remove_run_dir(self._places.run_dir(entry.id, status.incarnation + 1))

    def _exit(self, entry: Entry) -> str:
        return str(self._places.exit(entry.id, entry.container.status.incarnation))

    def strays(self) -> list[Path]:
        """Run directories of lives that no record has."""
        known = set()
        for entry in self._records:
            incarnation = entry.container.status.incarnation
            known |= {self._places.run_dir(entry.id, incarnation), self._places.run_dir(entry.id, incarnation + 1)}
        found = [path for path in self._places.shims.iterdir() if path not in known]
        return found if self._runtimes.probing else found + list(self._places.probes.iterdir())

    async def let_go(self, run_dir: Path) -> None:
        """End a stray shim and what it holds."""
        logger().warning("a shim without a record is let go", shim=str(run_dir))
        if is_alive(run_dir):
            try:
                await self._lives.end_stray(run_dir)
            except (PierError, ShimGone) as error:
                logger().error("a stray shim does not go", shim=str(run_dir), error=str(error))
                return
        self._places.remove_run_dir(run_dir)


def _ended(container: exec_pb2.Container) -> None:
    container.status.state = EXITED
