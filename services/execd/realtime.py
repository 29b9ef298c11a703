"""The real-time scheduler's shares on cgroup v1 (``--cpu-rt-period``, ``--cpu-rt-runtime``).

A cgroup may give its children no more than it has itself, and a new one has nothing: so the cgroups above a container
are given what their children together ask for, from the top on. cgroup v2 has no such controller.
Source: Documentation/scheduler/sched-rt-group.rst of the kernel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from chassis.errors import Conflict
from execd.shim import cgroups

_RUNTIME: Final = "cpu.rt_runtime_us"
_PERIOD: Final = "cpu.rt_period_us"


def root() -> Path | None:
    """The hierarchy with the real-time scheduler's files, None where the kernel has none."""
    for hierarchy in cgroups.hierarchies():
        if "cpu" in hierarchy.controllers.split(",") and (Path(hierarchy.mount) / _RUNTIME).exists():
            return Path(hierarchy.mount)
    return None


def reserve(cgroup: str, period: int, runtime: int) -> None:
    """Let the cgroup with the path ``cgroup`` have ``runtime`` of every ``period`` microseconds (0: a second).

    Conflict (NO_REALTIME) where those above it cannot be given so much."""
    top = root()
    if top is None or not runtime:
        return
    share = runtime / (period or 1_000_000)
    parts = Path(cgroup).parts
    for depth in range(1, len(parts)):
        directory = top.joinpath(*parts[:depth])
        directory.mkdir(exist_ok=True)
        below = sum(_share(child) for child in directory.iterdir() if child.is_dir() and child.name != parts[depth])
        wanted = below + max(share, _share(directory / parts[depth]) if depth < len(parts) - 1 else 0)
        if _share(directory) < wanted:
            try:
                (directory / _RUNTIME).write_text(str(int(wanted * _number(directory / _PERIOD)) + 1))
            except OSError as error:
                raise Conflict(
                    f"cgroup /{'/'.join(parts[:depth])} cannot be given the real-time share {wanted:.3f}: "
                    f"{error.strerror}", reason="NO_REALTIME", field="spec.resources.cpu_rt_runtime",
                    expected="less, or more for the cgroups above it",
                ) from error


def _share(directory: Path) -> float:
    try:
        return max(0, _number(directory / _RUNTIME)) / _number(directory / _PERIOD)
    except FileNotFoundError:
        return 0.0


def _number(path: Path) -> int:
    return int(path.read_text())
