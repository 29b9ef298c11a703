"""The processes of a container, from /proc alone: no program of the container's or the host's is run. All calls block.

Source: proc_pid_stat(5), proc_pid_status(5); which processes are the container's is what its cgroup says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from execd.shim import cgroups
from pier.exec.v1 import exec_pb2

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PTS_MAJORS: Final = range(136, 144)
_SECOND: Final = 1_000_000_000


def listed(path: str) -> list[exec_pb2.ProcessInfo]:
    """All of the cgroup ``path`` ("pier/ID") and those below it, by process id. One that ends meanwhile is left out."""
    boot = _boot_time()
    return [info for pid in sorted(_pids(path)) if (info := _info(pid, boot))]


def _pids(path: str) -> set[int]:
    """Of the first hierarchy that has the cgroup: all of them hold the same processes."""
    for hierarchy in cgroups.hierarchies():
        directory = Path(hierarchy.mount) / path
        found = set()
        for place, _, _ in os.walk(directory):
            try:
                found |= set(map(int, (Path(place) / "cgroup.procs").read_text().split()))
            except OSError:
                continue
        if found:
            return found
    return set()


def _info(pid: int, boot: int) -> exec_pb2.ProcessInfo | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        uid = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
    name, _, rest = stat.partition(" (")[2].rpartition(") ")
    fields = rest.split()  # from the third of proc_pid_stat(5) on: state
    info = exec_pb2.ProcessInfo(pid=pid, parent_pid=int(fields[1]), uid=uid, terminal=_terminal(int(fields[4])))
    info.cpu_time.FromNanoseconds((int(fields[11]) + int(fields[12])) * _SECOND // _TICKS)
    info.started_at.FromNanoseconds(boot + int(fields[19]) * _SECOND // _TICKS)
    info.args.extend(command.rstrip(b"\0").split(b"\0") if command else [f"[{name}]".encode()])
    return info


def _terminal(device: int) -> str:
    """The controlling terminal's name by its device number."""
    major, minor = os.major(device), os.minor(device)
    return f"pts/{(major - _PTS_MAJORS[0]) * 256 + minor}" if major in _PTS_MAJORS else "?"


def _boot_time() -> int:
    """Nanoseconds of the epoch."""
    for line in _lines(Path("/proc/stat")):
        if line.startswith("btime "):
            return int(line.split()[1]) * _SECOND
    return 0


def _lines(path: Path) -> Iterator[str]:
    with path.open() as file:
        yield from file
