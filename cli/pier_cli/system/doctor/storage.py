"""Where the engine keeps its state: room, inodes, and whether the file system can hold it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pier_cli.system.doctor.check import Check, failure, ok, warning
from pier_cli.system.doctor.files import Files

AREA: Final = "storage"
_FULL: Final = 64 << 20
_SCARCE: Final = 1 << 30
"""As the alert PierDiskFull."""
_INODES_SCARCE: Final = 0.05
_UNFIT: Final = {
    "overlay": "an overlay cannot lie on an overlay", "nfs": "an overlay's upper directory cannot lie on NFS",
    "nfs4": "an overlay's upper directory cannot lie on NFS", "cifs": "it keeps no owners and modes",
    "vfat": "it keeps no owners and modes", "ramfs": "it has no limit and is gone at the next boot",
}
_FORGETFUL: Final = frozenset({"tmpfs"})
_MAKE_ROOM: Final = "pier system df says what takes it, pier system prune and pier builder prune make room"


def checks(files: Files, state: Path) -> Iterator[Check]:
    """Of ``state``, or the nearest directory above that is there, and of each service's own that is another file
    system."""
    here = state
    while not here.exists():
        here = here.parent
    yield from _place(files, here, "")
    if here == state:
        for own in sorted(state.iterdir()):
            if own.is_dir() and own.stat().st_dev != state.stat().st_dev:
                yield from _place(files, own, f" of {own.name}")
        yield _future(state)


def _place(files: Files, here: Path, whose: str) -> Iterator[Check]:
    yield _file_system(files, here, whose)
    found = os.statvfs(here)
    yield _room(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, whose)
    if found.f_files:
        yield _inodes(found.f_favail, found.f_files, whose)


def _file_system(files: Files, here: Path, whose: str) -> Check:
    name = "file system" + whose
    place, kind, options = mount_of(files.text("/proc/self/mounts"), str(here.resolve()))
    found = f"{here} on {kind} at {place}"
    if "ro" in options:
        return failure(AREA, name, f"{found}, read-only", "the kernel's log (dmesg) says why it went "
                       f"read-only; repair it, then mount -o remount,rw {place}")
    if kind in _UNFIT:
        return failure(AREA, name, found, f"{_UNFIT[kind]}: mount ext4, xfs or btrfs there, or set root")
    if kind in _FORGETFUL:
        return warning(AREA, name, found, "images, volumes and records are gone at the next boot: mount ext4, "
                       "xfs or btrfs there, or set root")
    return ok(AREA, name, found)


def mount_of(mounts: str, path: str) -> tuple[str, str, list[str]]:
    """Mount point, type and options of the file system that ``path`` lies on, by the lines of /proc/self/mounts."""
    best: tuple[str, str, list[str]] = ("/", "unknown", [])
    for row in (line.split() for line in mounts.splitlines()):
        place = row[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        within = path == place or path.startswith(place.rstrip("/") + "/")
        if within and len(place) >= len(best[0]):
            best = (place, row[2], row[3].split(","))
    return best


def _room(free: int, whole: int, whose: str) -> Check:
    name = "room" + whose
    found = f"{free / (1 << 30):.1f} of {whole / (1 << 30):.1f} GiB free"
    if free < _FULL:
        return failure(AREA, name, found, f"the disk is full: pulls, builds and new containers fail, logs are lost. "
                       f"{_MAKE_ROOM}; no service has to be restarted")
    if free < _SCARCE:
        return warning(AREA, name, found, f"little is left. {_MAKE_ROOM}")
    return ok(AREA, name, found)


def _inodes(free: int, whole: int, whose: str) -> Check:
    name = "inodes" + whose
    found = f"{free} of {whole} inodes free"
    if free < whole * _INODES_SCARCE:
        level = failure if free == 0 else warning
        return level(AREA, name, found, "images of many small files take them. " + _MAKE_ROOM)
    return ok(AREA, name, found)


def _future(state: Path) -> Check:
    """Databases of a time to come: the clock was turned back, and 'since' and 'until' mislead."""
    now = time.time()
    ahead = max((path.stat().st_mtime - now for path in state.glob("*/*.db*")), default=0.0)
    if ahead > 60:
        return warning(AREA, "times", f"databases were written {ahead:.0f} s in the future", "the clock was turned "
                       "back: events and logs carry both times until it has caught up")
    return ok(AREA, "times", "no database is of the future")
