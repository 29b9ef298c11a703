"""What a world holds at this moment, by kind: the kernel's own view, taken without the engine.

A fact is a name that means the same thing before and after, so inode numbers, handles and counters are left out. A
kind's facts are counted: two descriptors of one socket are two.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tests.world import cgroups

Facts = Mapping[str, Counter[str]]

_FILES: Final = ("/tmp", "/var/tmp", "/run", "/dev/shm")
_PYTESTS_OWN: Final = re.compile(r"/tmp/pytest-of-[^/]+(/.*)?")
_MODULE: Final = re.compile(rb"\0-m\0([a-z_.]+)\0")
_INODE: Final = re.compile(r"^(socket|pipe|net|mnt|pid|uts|ipc|cgroup|user|time):\[\d+\]$")
_VOLATILE: Final = frozenset({"handle", "packets", "bytes", "expires", "index"})

watched_directories: Final[set[str]] = set()
"""Directories besides the usual ones whose entries are facts of kind "files": a state directory, for instance."""


def _octal(text: str) -> str:
    """A path as /proc/self/mountinfo writes it, with its \\040 and the like undone."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def mounts() -> Iterator[str]:
    """Targets in this mount namespace, pinned namespaces among them."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        yield _octal(line.split()[4])


def links() -> Iterator[str]:
    """Network links of this network namespace."""
    yield from os.listdir("/sys/class/net")


def nftables() -> Iterator[str]:
    """Tables, chains, rules, sets, maps and each of their elements, of all families."""
    text = subprocess.run(["nft", "-j", "list", "ruleset"], check=True, capture_output=True, text=True).stdout
    for item in json.loads(text)["nftables"]:
        for kind, body in item.items():
            if kind == "metainfo":
                continue
            where = " ".join(str(body[key]) for key in ("family", "table", "chain", "name") if key in body)
            yield f"{kind} {where}" + (f": {_stable(body['expr'])}" if "expr" in body else "")
            for element in body.get("elem", []):
                yield f"element of {where}: {_stable(element)}"


def _stable(value: Any) -> str:
    """JSON without what changes by itself: handles, counters, remaining lifetimes."""

    def strip(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: strip(child) for key, child in node.items() if key not in _VOLATILE}
        return [strip(child) for child in node] if isinstance(node, list) else node

    return json.dumps(strip(value), sort_keys=True)


def control_groups() -> Iterator[str]:
    """Every cgroup of every hierarchy, as ``hierarchy:/path``."""
    for hierarchy in cgroups.hierarchies(Path("/proc/self/mountinfo").read_text()):
        for directory, _, _ in os.walk(hierarchy.mount):
            yield f"{hierarchy.mount.name}:/{os.path.relpath(directory, hierarchy.mount)}"


def _process_ids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _read(path: str) -> bytes:
    """The file's contents; nothing where its process is gone."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def _process_name(pid: int) -> str | None:
    status = _read(f"/proc/{pid}/stat")
    if not status:
        return None
    comm, _, rest = status.partition(b" (")[2].rpartition(b") ")
    name = comm.decode(errors="replace")
    if rest[:1] == b"Z":
        return f"{name} (zombie)"
    arguments = _read(f"/proc/{pid}/cmdline").decode(errors="replace").replace("\0", " ").strip()
    return f"{name}: {arguments[:200]}"


def processes() -> Iterator[str]:
    """Processes of this pid namespace by name and command line, not by id: what was restarted counts as the same."""
    for pid in _process_ids():
        name = _process_name(pid)
        if name is not None:
            yield name


def descriptors() -> Iterator[str]:
    """Open descriptors of every process of this pid namespace, by process id and name."""
    for pid in _process_ids():
        comm = _read(f"/proc/{pid}/comm").decode(errors="replace").strip()
        found = _MODULE.search(_read(f"/proc/{pid}/cmdline"))
        module = f" {found[1].decode()}" if found else ""
        try:
            fds = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for fd in fds:
            # The descriptor that listed this directory is gone by now.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                target = _INODE.sub(r"\1", os.readlink(f"/proc/{pid}/fd/{fd}"))
                yield f"{pid} ({comm}{module}): {target}"


def terminals() -> Iterator[str]:
    """Pseudo terminals of this world."""
    yield from os.listdir("/dev/pts")


def files() -> Iterator[str]:
    """Everything below the directories for what is temporary, and below those in ``watched_directories``."""
    mounted = frozenset(mounts())
    for root in (*_FILES, *sorted(watched_directories)):
        yield from _tree(root, mounted)


def _tree(root: str, mounted: frozenset[str]) -> Iterator[str]:
    for directory, subdirectories, names in os.walk(root):
        for name in (*subdirectories, *names):
            path = os.path.join(directory, name)
            if not _PYTESTS_OWN.fullmatch(path):
                yield path
        # What lies behind a mount is told by the mount, and may be huge (a rootfs, the project itself).
        subdirectories[:] = [name for name in subdirectories if os.path.join(directory, name) not in mounted]


KINDS: Final[Mapping[str, Callable[[], Iterable[str]]]] = {
    "mounts": mounts,
    "links": links,
    "nftables": nftables,
    "cgroups": control_groups,
    "processes": processes,
    "descriptors": descriptors,
    "terminals": terminals,
    "files": files,
}


def take() -> Facts:
    """All facts of this moment."""
    return {kind: Counter(collect()) for kind, collect in KINDS.items()}
