"""A world's cgroups: one in every hierarchy, the root of what the world sees."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chassis import kernel

ROOT: Final = Path("/sys/fs/cgroup")
_NEEDED: Final[tuple[str, ...]] = ("cpu", "cpuset", "io", "memory", "pids")  # version 2 controllers that an engine uses
_REMOVE_WITHIN: Final = 10.0  # seconds; the kernel releases a killed process's cgroup a little after its end


@dataclass(frozen=True)
class Hierarchy:
    """One mounted hierarchy. ``options`` select it in mount(2); version 2 has none."""

    mount: Path
    version: int
    options: str


def hierarchies(mountinfo: str) -> list[Hierarchy]:
    """The cgroup hierarchies that a text in the form of /proc/self/mountinfo mounts at or below /sys/fs/cgroup."""
    found: dict[Path, Hierarchy] = {}
    for line in mountinfo.splitlines():
        fields, _, tail = line.partition(" - ")
        target = Path(fields.split()[4])
        fstype, _, superblock = tail.split(" ", 2)
        if target != ROOT and ROOT not in target.parents:
            continue
        if fstype == "cgroup2":
            found[target] = Hierarchy(target, 2, "")
        elif fstype == "cgroup":
            words = [word for word in superblock.split(",") if word not in ("rw", "ro", "xattr", "clone_children")]
            words = [word for word in words if not word.startswith("release_agent=")]
            if any(word.startswith("name=") for word in words):
                words.insert(0, "none")
            found[target] = Hierarchy(target, 1, ",".join(words))
    return list(found.values())


class WorldCgroups:
    """The cgroups called ``name``: below the keeper's own in version 1, below the root in version 2.

    Version 2 forbids processes in a cgroup that gives controllers to its children (the real root is exempt), so the
    world's processes are in a leaf of their own there, as a host's are under systemd.
    """

    def __init__(self, name: str) -> None:
        self.hierarchies = hierarchies(Path("/proc/self/mountinfo").read_text())
        self._where: dict[Hierarchy, Path] = {}
        self._made: list[Path] = []
        self._enabled: dict[Path, list[str]] = {}
        own = _own_paths(Path("/proc/self/cgroup").read_text())
        for hierarchy in self.hierarchies:
            base = hierarchy.mount
            if hierarchy.version == 1:
                base = base / own.get(hierarchy.options.removeprefix("none,"), "")
            self._where[hierarchy] = base / name

    def make(self) -> None:
        """Make them, with what a new cgroup needs before a process may enter."""
        for hierarchy, path in self._where.items():
            if hierarchy.version == 2:
                self._give_controllers(path.parent)
            path.mkdir()
            self._made.append(path)
            if "cpuset" in hierarchy.options.split(","):
                for name in ("cpuset.cpus", "cpuset.mems"):
                    (path / name).write_text((path.parent / name).read_text())

    def _give_controllers(self, path: Path) -> None:
        present = (path / "cgroup.subtree_control").read_text().split()
        available = (path / "cgroup.controllers").read_text().split()
        missing = [name for name in _NEEDED if name in available and name not in present]
        if missing:
            (path / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in missing))
            self._enabled[path] = missing

    def enter(self) -> None:
        """Put the calling process into them, before it unshares its cgroup namespace: they become its roots."""
        for path in self._where.values():
            (path / "cgroup.procs").write_text("0")

    def settle(self) -> None:
        """Go on into a leaf where version 2 has controllers to give, and give them."""
        for hierarchy, path in self._where.items():
            if hierarchy.version == 2 and (path / "cgroup.controllers").read_text().split():
                (path / "init").mkdir()
                (path / "init" / "cgroup.procs").write_text("0")
                self._give_controllers(path)

    def mount(self) -> None:
        """Mount every hierarchy where the host has it, into a world whose /sys/fs/cgroup is yet an empty directory."""
        if not any(hierarchy.mount == ROOT for hierarchy in self.hierarchies):
            kernel.mount(b"tmpfs", os.fsencode(ROOT), b"tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, b"mode=755")
        for hierarchy in self.hierarchies:
            hierarchy.mount.mkdir(exist_ok=True)
            fstype = b"cgroup2" if hierarchy.version == 2 else b"cgroup"
            kernel.mount(fstype, os.fsencode(hierarchy.mount), fstype, 0, hierarchy.options.encode() or None)
            # cpu and cpuacct, mounted as one, are found under either name.
            names = hierarchy.options.split(",")
            for name in names if len(names) > 1 and names[0] != "none" else []:
                (ROOT / name).symlink_to(hierarchy.mount.name)

    def remove(self) -> None:
        """Remove them and all that is below; every process of the world has been killed by now."""
        for path in reversed(self._made):
            _remove_tree(path)
        for path, names in self._enabled.items():
            if path.exists():
                # Another world may use by now what this one switched on: then it stays on.
                with contextlib.suppress(OSError):
                    (path / "cgroup.subtree_control").write_text(" ".join(f"-{name}" for name in names))


def _own_paths(text: str) -> dict[str, str]:
    """Options of a version 1 hierarchy to this process's cgroup in it, without a leading slash."""
    paths = {}
    for line in text.splitlines():
        _, options, path = line.split(":", 2)
        paths[options] = path.lstrip("/")
    return paths


def remove_called(name: str) -> None:
    """Remove the cgroups called ``name`` of a world whose keeper is gone, wherever it stood in each hierarchy."""
    for hierarchy in hierarchies(Path("/proc/self/mountinfo").read_text()):
        for directory, subdirectories, _ in os.walk(hierarchy.mount):
            if name in subdirectories:
                subdirectories.remove(name)
                _remove_tree(Path(directory, name))


def _remove_tree(path: Path) -> None:
    deadline = time.monotonic() + _REMOVE_WITHIN
    for directory, _, _ in os.walk(path, topdown=False):
        while True:
            try:
                os.rmdir(directory)
                break
            except FileNotFoundError:
                break
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise
            time.sleep(0.005)
