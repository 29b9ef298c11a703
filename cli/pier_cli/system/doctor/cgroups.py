"""Control groups: which version, and which controllers the limits of containers can use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pier_cli.system.doctor.check import Check, advice, failure, ok, warning
from pier_cli.system.doctor.files import Files

AREA: Final = "cgroups"
_WANTED: Final = {
    "memory": "--memory", "cpu": "--cpus, --cpu-shares", "pids": "--pids-limit", "cpuset": "--cpuset-cpus",
    "io": "--device-read-bps and its like", "freezer": "pause", "devices": "what devices a container may use",
}
_OLD_NAMES: Final = {"io": "blkio"}
_IN_THE_KERNEL_OF_TWO: Final = frozenset({"freezer", "devices"})


def checks(files: Files) -> Iterator[Check]:
    mounts = [line.split() for line in files.text("/proc/self/mounts").splitlines()]
    unified = [row[1] for row in mounts if row[2] == "cgroup2"]
    older = {row[1]: row[3].split(",") for row in mounts if row[2] == "cgroup"}
    if not unified and not older:
        yield failure(AREA, "hierarchies", "none is mounted",
                      "mount -t cgroup2 none /sys/fs/cgroup, or let systemd do it")
        return
    in_two = {name for path in unified for name in files.text(f"{path}/cgroup.controllers").split()}
    in_one = {option for options in older.values() for option in options}
    version = "v1 and v2 (hybrid)" if unified and older else "v2" if unified else "v1"
    yield ok(AREA, "hierarchies", f"{version}, {len(unified) + len(older)} mounted")
    for name, use in _WANTED.items():
        old = _OLD_NAMES.get(name, name)
        if name in in_two or (not older and name in _IN_THE_KERNEL_OF_TWO):
            yield ok(AREA, name, "v2")
        elif old in in_one:
            yield ok(AREA, name, "v1")
        else:
            yield warning(AREA, name, "no hierarchy has this controller", f"containers are refused that ask for {use}: "
                          "boot with cgroup_enable=memory for memory, else enable it in the parent's "
                          "cgroup.subtree_control")
    yield from _swap(files, unified, older)


def _swap(files: Files, unified: list[str], older: dict[str, list[str]]) -> Iterator[Check]:
    memory = next((path for path, options in older.items() if "memory" in options), None)
    if memory is not None and not files.at(f"{memory}/memory.memsw.limit_in_bytes").exists():
        yield advice(AREA, "swap limits", "not counted", "--memory-swap is refused; boot with swapaccount=1")
    elif memory is not None or unified:
        yield ok(AREA, "swap limits", "counted")
