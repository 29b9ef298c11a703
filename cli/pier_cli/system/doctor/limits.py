"""Limits of the host that many containers run into: descriptors, processes, inotify, keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pier_cli.system.doctor.check import Check, ok, warning
from pier_cli.system.doctor.files import Files

AREA: Final = "limits"
_NEARLY: Final = 0.9


@dataclass(frozen=True)
class _Least:
    """A sysctl that should be no smaller than ``least``."""

    name: str
    path: str
    least: int
    why: str

    @property
    def sysctl(self) -> str:
        return self.path.removeprefix("/proc/sys/").replace("/", ".")


_LEAST: Final = (
    _Least("inotify instances", "/proc/sys/fs/inotify/max_user_instances", 128,
           "programs in containers share them, by user: tail -f, web servers and build tools take one each"),
    _Least("inotify watches", "/proc/sys/fs/inotify/max_user_watches", 8192, "file watchers in containers share them"),
    _Least("processes", "/proc/sys/kernel/pid_max", 32768, "each container's process and its shim have a number"),
    _Least("threads", "/proc/sys/kernel/threads-max", 8192, "all containers share them"),
    _Least("keys", "/proc/sys/kernel/keys/maxkeys", 200, "each container has a session key ring"),
    _Least("memory maps", "/proc/sys/vm/max_map_count", 65530, "databases and search engines in containers need them"),
)


def checks(files: Files) -> Iterator[Check]:
    for item in _LEAST:
        value = files.number(item.path)
        if value is None:
            continue
        if value < item.least:
            yield warning(AREA, item.name, f"{item.sysctl} = {value}",
                          f"{item.why}: sysctl {item.sysctl}={item.least}, or more")
        else:
            yield ok(AREA, item.name, f"{item.sysctl} = {value}")
    yield from _used(files)


def _used(files: Files) -> Iterator[Check]:
    """How much of what the whole machine shares is taken now."""
    fields = files.text("/proc/sys/fs/file-nr").split()
    if len(fields) == 3:
        yield _share("open files of all", int(fields[0]), int(fields[2]), "fs.file-max")
    load, most = files.text("/proc/loadavg").split(), files.number("/proc/sys/kernel/threads-max")
    if len(load) == 5 and "/" in load[3] and most:
        yield _share("threads of all", int(load[3].partition("/")[2]), most, "kernel.threads-max")


def _share(name: str, used: int, most: int, sysctl: str) -> Check:
    found = f"{used} of {most}"
    if used > most * _NEARLY:
        return warning(AREA, name, found, f"nearly used up: find who has them, or raise {sysctl}")
    return ok(AREA, name, found)


def of_process(files: Files, pid: int) -> tuple[int, int] | None:
    """Open descriptors of process ``pid`` and its limit; None where it cannot be seen."""
    try:
        used = len(list(files.at(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return None
    for line in files.text(f"/proc/{pid}/limits").splitlines():
        if line.startswith("Max open files"):
            soft = line.split()[3]
            return used, int(soft) if soft.isdecimal() else 1 << 30
    return None


def scarce(used: int, most: int) -> bool:
    return used > most * _NEARLY
