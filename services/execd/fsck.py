"""Both directions: what records say and the kernel or disk lacks, and what is there that no record has."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from chassis.errors import PierError
from execd.lives import Lives
from execd.places import Places
from execd.records import Records
from execd.restart import Restart
from execd.runtimes import Runtimes
from execd.shim import cgroups
from execd.strays import stray_cgroups
from pier.system.v1 import system_pb2


class Fsck:
    """SystemService.Fsck for execd."""

    def __init__(self, records: Records, lives: Lives, restart: Restart, places: Places, runtimes: Runtimes) -> None:
        self._records = records
        self._lives = lives
        self._restart = restart
        self._places = places
        self._runtimes = runtimes

    async def check(self, repair: bool) -> list[system_pb2.Finding]:
        """Findings; what is in the middle of a verb (its lock is held) is passed over."""
        findings: list[system_pb2.Finding] = []
        for entry in self._records:
            if entry.lock.locked():
                continue
            if entry.is_running() and entry.shim is None:
                finding = _finding("RECORD_WITHOUT_SHIM", entry.id, "its shim was killed: its output is lost")
                finding.owner.CopyFrom(entry.container.owner)
                findings.append(finding)
            if entry.is_running() and not os.path.exists(f"/proc/{entry.container.status.pid}"):
                finding = _finding("RECORD_WITHOUT_PROCESS", entry.id, "it counts as running and its process is gone")
                finding.owner.CopyFrom(entry.container.owner)
                findings.append(finding)
        for run_dir in self._restart.strays():
            finding = _finding("SHIM_WITHOUT_RECORD", str(run_dir), "a run directory that no container's life has")
            if repair:
                await self._restart.let_go(run_dir)
                finding.repaired = not run_dir.exists()
            findings.append(finding)
        for path, reason in (*self._cgroups(), *self._directories()):
            finding = _finding(reason, str(path), "no running container has it")
            if repair:
                finding.repaired = await self._remove(path, reason)
            findings.append(finding)
        return findings

    def _alive(self) -> set[str]:
        """Ids of what may have things in the kernel: containers that run or are in a verb, and probes."""
        busy = {entry.id for entry in self._records if entry.is_running() or entry.lock.locked()}
        return busy | self._runtimes.probing

    def _cgroups(self) -> list[tuple[Path, str]]:
        alive = self._alive()
        found = []
        for hierarchy in cgroups.hierarchies():
            parent = Path(hierarchy.mount) / self._places.cgroup_parent
            found += [(path, "CGROUP_WITHOUT_RECORD") for path in stray_cgroups(parent, alive)]
        return found

    def _directories(self) -> list[tuple[Path, str]]:
        known = {entry.id for entry in self._records}
        found = []
        homes = self._places.state / "containers"
        if homes.is_dir():
            found += [(path, "DIRECTORY_WITHOUT_RECORD") for path in homes.iterdir() if path.name not in known]
        if self._runtimes.root.is_dir():
            alive = self._alive()
            found += [(path, "RUNTIME_STATE_WITHOUT_RECORD") for path in self._runtimes.root.iterdir()
                      if path.name not in alive and not path.name.startswith(".")]
        return found

    async def _remove(self, path: Path, reason: str) -> bool:
        if reason == "CGROUP_WITHOUT_RECORD":
            with contextlib.suppress(OSError):
                path.rmdir()
        elif reason == "DIRECTORY_WITHOUT_RECORD":
            self._places.remove_home(path.name)
        else:
            with contextlib.suppress(PierError):
                await self._lives.delete_from_runtime(path.name)
        return not path.exists()


def _finding(reason: str, subject: str, message: str) -> system_pb2.Finding:
    return system_pb2.Finding(reason=reason, subject=subject, message=message)

