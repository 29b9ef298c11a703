"""Where the shim itself stands among the cgroups, and what the container's say about memory.

Hierarchies are found by their mounts, so that cgroup v1, v2 and both at once are all read the same way.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from chassis import mountinfo

_SHIMS: Final = "shims"
_ID_LENGTH: Final = 64


class Hierarchy(NamedTuple):
    """One mounted hierarchy: its mount point, and its controllers as /proc/self/cgroup names them ("" for v2)."""

    mount: str
    controllers: str


def hierarchies() -> list[Hierarchy]:
    """Every cgroup hierarchy that is mounted whole, each once."""
    names = {frozenset(controllers.split(",")): controllers for controllers, _ in _memberships()}
    found: dict[str, Hierarchy] = {}
    for mount in mountinfo.own():
        if mount.root != "/" or mount.kind not in ("cgroup", "cgroup2"):
            continue
        controllers = ""
        if mount.kind == "cgroup":
            options = set(mount.options.split(","))
            controllers = next((name for key, name in names.items() if name and key <= options), "?")
        found.setdefault(controllers, Hierarchy(mount.point, controllers))
    found.pop("?", None)
    return list(found.values())


def _memberships() -> list[tuple[str, str]]:
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        parts = (line.rstrip("\n").split(":", 2) for line in file)
        return [(controllers, path) for _, controllers, path in parts]


def _is_tracking(hierarchy: Hierarchy) -> bool:
    """Whether a service manager tracks its units here: systemd's own v1 hierarchy, or v2."""
    return hierarchy.controllers in ("", "name=systemd")


def prepare(parent: str, tracking: bool) -> list[str]:
    """Make ``parent``/shims in the hierarchies where units are tracked, or in all the others; the cgroup.procs files of
    those where this process is not yet in it.

    The zygote enters the others itself, once, and every shim is born there; where units are tracked it stays in its
    unit, and each shim leaves by itself.
    """
    own = dict(_memberships())
    tasks = []
    for hierarchy in hierarchies():
        path = f"/{parent}/{_SHIMS}"
        if _is_tracking(hierarchy) is not tracking or own.get(hierarchy.controllers) == path:
            continue
        directory = hierarchy.mount + path
        os.makedirs(directory, mode=0o755, exist_ok=True)
        if hierarchy.controllers == "cpuset":
            _inherit_cpuset(hierarchy.mount, [parent, f"{parent}/{_SHIMS}"])
        tasks.append(f"{directory}/cgroup.procs")
    return tasks


def enter(tasks: list[str]) -> None:
    """Move this process."""
    for path in tasks:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, b"0")
        os.close(fd)


def own_places() -> list[str]:
    """The cgroup.procs files of the cgroups that this process is in."""
    own = dict(_memberships())
    return [
        f"{item.mount}{own[item.controllers].rstrip('/')}/cgroup.procs"
        for item in hierarchies() if item.controllers in own
    ]


def remove(parent: str) -> bool:
    """Remove the instance's empty cgroups, and what containers have asked for as their parent below it; False where a
    shim or a container is still in one."""
    done = True
    for hierarchy in hierarchies():
        made = []
        for directory, below, _ in os.walk(f"{hierarchy.mount}/{parent}"):
            # What lies below a container's is its own, also where it is empty now.
            below[:] = [name for name in below if len(name) != _ID_LENGTH]
            made.append(directory)
        for directory in reversed(made):
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                continue
            except OSError:
                done = False
    return done


def remove_container(cgroup: str) -> bool:
    """Remove what a container's cgroup and those below it still are; False where the kernel says that one is busy.

    The runtime does this; crun 1.8 leaves one behind, and says nothing, where a killed process is not quite gone yet.
    """
    done = True
    for hierarchy in hierarchies():
        for directory, _, _ in os.walk(f"{hierarchy.mount}/{cgroup}", topdown=False):
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                continue
            except OSError:
                done = False
    return done


def _inherit_cpuset(mount: str, paths: list[str]) -> None:
    """A new v1 cpuset has no processors and takes no process until it is given its parent's."""
    for path in paths:
        for name in ("cpuset.cpus", "cpuset.mems"):
            with open(f"{mount}/{path}/{name}", "r+", encoding="utf-8") as file:
                if not file.read().strip():
                    with open(f"{mount}/{os.path.dirname(path)}/{name}", encoding="utf-8") as above:
                        value = above.read()
                    file.seek(0)
                    file.write(value)


def oom_kills(cgroup: str) -> int:
    """How many processes the kernel killed in ``cgroup`` for want of memory; 0 where it cannot be read."""
    total = 0
    for hierarchy in hierarchies():
        controllers = hierarchy.controllers.split(",")
        if "memory" in controllers:
            name = "memory.oom_control"
        elif hierarchy.controllers == "":
            name = "memory.events"
        else:
            continue
        try:
            with open(f"{hierarchy.mount}/{cgroup}/{name}", encoding="utf-8") as file:
                for line in file:
                    key, _, value = line.partition(" ")
                    if key == "oom_kill":
                        total += int(value)
        except OSError:
            continue
    return total
