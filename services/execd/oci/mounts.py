"""What is mounted into a container: Docker's own set, the engine's files, and the spec's binds."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable
from typing import Any, Final

from chassis.errors import InvalidArgument, Unimplemented
from pier.types.v1 import types_pb2

SHM: Final = "/dev/shm"
SHM_SIZE: Final = 64 << 20
_FLAGS: Final = frozenset({
    "ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "relatime", "nodiratime",
})
_PROPAGATIONS: Final = frozenset({"", "private", "rprivate", "slave", "rslave", "shared", "rshared"})
_TMPFS: Final = frozenset({"size", "mode", "uid", "gid", "nr_inodes"})
_OVERLAY: Final = frozenset({"lowerdir", "redirect_dir", "metacopy", "index"})
NFS: Final = ("nfs", "nfs4")
OVERLAY: Final = "overlay"
_NFS_OPTION: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_PROC: Final = "/proc"


def standard(shm: dict[str, Any] | None, *, writable_cgroups: bool) -> list[dict[str, Any]]:
    """The kernel's file systems that every container has, as Docker mounts them, and its /dev/shm."""
    quiet = ["nosuid", "noexec", "nodev"]
    sys_mode = "rw" if writable_cgroups else "ro"
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": quiet},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*quiet, sys_mode]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*quiet, sys_mode]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": quiet},
        *([shm] if shm is not None else []),
    ]


def own_shm(size: int) -> dict[str, Any]:
    """A fresh /dev/shm of ``size`` bytes, 0 for Docker's."""
    options = ["nosuid", "noexec", "nodev", "mode=1777", f"size={size or SHM_SIZE}"]
    return {"destination": SHM, "type": "tmpfs", "source": "shm", "options": options}


def shared_shm(source: str) -> dict[str, Any]:
    """The host's /dev/shm or another container's."""
    options = ["rbind", "nosuid", "noexec", "nodev", "rprivate"]
    return {"destination": SHM, "type": "bind", "source": source, "options": options}


def file_bind(source: str, target: str) -> dict[str, Any]:
    """One of the engine's own files in the container."""
    return {"destination": target, "type": "bind", "source": source, "options": ["rbind", "rprivate"]}


def program_bind(source: str, target: str) -> dict[str, Any]:
    """A program of the host's that the container may run, not change."""
    options = ["bind", "ro", "nosuid", "nodev", "rprivate"]
    return {"destination": target, "type": "bind", "source": source, "options": options}


def check(entries: Iterable[types_pb2.MountSpec]) -> None:
    """Judge a spec's mounts: InvalidArgument (BAD_MOUNT) names the first that may not be."""
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        field = f"spec.mounts[{index}]"
        target = _target(entry, field)
        if target in seen:
            raise _bad(f"Duplicate mount point: {target}", f"{field}.target")
        seen.add(target)
        if entry.type not in ("bind", "tmpfs", OVERLAY, *NFS):
            raise Unimplemented(f"{field}.type: mounts of type {entry.type!a} are not built", field=f"{field}.type",
                                expected="bind, tmpfs, overlay, nfs or nfs4")
        if entry.uid_maps or entry.gid_maps:
            raise Unimplemented(f"{field}: id-mapped mounts are not built", field=f"{field}.uid_maps")
        if entry.propagation not in _PROPAGATIONS:
            raise _bad(f"invalid propagation {entry.propagation!a}", f"{field}.propagation")
        allowed = _FLAGS | {"tmpfs": _TMPFS, OVERLAY: _OVERLAY}.get(entry.type, frozenset())
        if entry.type in NFS:
            allowed |= {option.key for option in entry.options if _NFS_OPTION.fullmatch(option.key)}
        for option in entry.options:
            if option.key not in allowed or b"," in option.value or (option.key in _FLAGS and option.value):
                raise _bad(f"invalid option {option.key!a}", f"{field}.options")
        if entry.type == OVERLAY and "ro" not in {option.key for option in entry.options}:
            raise _bad("an overlay beside the root file system is read-only", f"{field}.options")
        if entry.subpath and (entry.type not in ("bind", OVERLAY) or not is_subpath(entry.subpath)):
            raise _bad("subpath must be a relative path within the volume", f"{field}.subpath")
        if entry.type == "bind" and (not entry.source.startswith(b"/") or b"\0" in entry.source):
            raise _bad(f"invalid mount path: {os.fsdecode(entry.source)!a} must be an absolute path",
                       f"{field}.source")


def check_sources(entries: Iterable[types_pb2.MountSpec]) -> None:
    """A bind's source must be there when the container is created (Docker's words for it)."""
    for index, entry in enumerate(entries):
        if entry.type == "bind" and not os.path.exists(entry.source):
            raise _bad(
                f"invalid mount config for type \"bind\": bind source path does not exist: {os.fsdecode(entry.source)}",
                f"spec.mounts[{index}].source",
            )


def from_spec(entries: Iterable[types_pb2.MountSpec], binds: dict[bytes, str]) -> list[dict[str, Any]]:
    """OCI's entries, in order. ``binds``: by their targets, where those are that the shim has mounted already."""
    return [_entry(entry, binds) for entry in entries]


def is_subpath(path: bytes) -> bool:
    """Whether it is a relative path that does not lead out."""
    return not path.startswith(b"/") and b"\0" not in path and b".." not in path.split(b"/")


def is_held(entry: types_pb2.MountSpec) -> bool:
    """Whether the shim mounts it beside the root file system, for the runtime to bind: where what is mounted below it
    in the container must reach the host; where only the shim may say what a path means; layers of an image; and what is
    mounted from the host's network, or for several containers together."""
    return (
        entry.type in (*NFS, OVERLAY) or (entry.type == "tmpfs" and bool(entry.source))
        or (entry.type == "bind" and (bool(entry.subpath) or entry.propagation in ("shared", "rshared"))))


def for_shim(entry: types_pb2.MountSpec) -> dict[str, Any]:
    """A mount that imaged described, in the shim's words."""
    if entry.uid_maps or entry.gid_maps:
        raise Unimplemented("id-mapped root file systems are not built", reason="NOT_BUILT", field="rootfs")
    options = []
    for option in entry.options:
        key = "lowerdir+" if option.key == "lowerdir" else option.key
        options.append(f"{key}={os.fsdecode(option.value)}" if option.value else key)
    if entry.type == "bind":
        options.append("rbind" if entry.recursive else "bind")
        if entry.propagation:
            options.append(entry.propagation)
    source = os.fsdecode(entry.source) or entry.type
    return {"type": entry.type, "source": source, "target": os.fsdecode(entry.target), "options": options}


def propagation(entries: Iterable[types_pb2.MountSpec]) -> str:
    """OCI's rootfsPropagation: what the most demanding bind needs, else rprivate."""
    wanted = {entry.propagation.removeprefix("r") for entry in entries}
    return "rshared" if "shared" in wanted else "rslave" if "slave" in wanted else "rprivate"


def _entry(entry: types_pb2.MountSpec, binds: dict[bytes, str]) -> dict[str, Any]:
    options = [
        f"{option.key}={os.fsdecode(option.value)}" if option.value else option.key for option in entry.options
    ]
    source, held = os.fsdecode(entry.source), binds.get(entry.target)
    if held is not None and entry.type != "bind":
        flags = [option.key for option in entry.options if option.key in _FLAGS]
        return {"destination": _target(entry, "spec.mounts"), "type": "bind", "source": held,
                "options": ["rbind", *flags, "rprivate"]}
    if entry.type == "bind":
        if entry.recursive and not entry.read_only_top:
            options = ["rro" if option == "ro" else option for option in options]
        propagation = entry.propagation or "rprivate"
        # crun takes the recursion of "rprivate" for the bind's own; alone, a mount has none below it to be told apart.
        options = (["rbind", *options, propagation] if entry.recursive else
                   ["bind", *options, propagation.removeprefix("r")])
        source = held or source
    else:
        source = source or "tmpfs"
        options += [f"no{word}" for word in ("suid", "dev", "exec") if not {word, f"no{word}"} & set(options)]
    return {"destination": _target(entry, "spec.mounts"), "type": entry.type, "source": source, "options": options}


def _target(entry: types_pb2.MountSpec, field: str) -> str:
    target = posixpath.normpath("/" + os.fsdecode(entry.target))
    if target.startswith("//"):
        target = target[1:]
    if b"\0" in entry.target or target == "/":
        raise _bad("invalid specification: destination can't be '/'", f"{field}.target")
    if target == _PROC or target.startswith(_PROC + "/"):
        # What hides or replaces parts of /proc defeats the confinement of everything after it (CVE-2019-16884).
        raise _bad(f"{target}: nothing may be mounted at or below /proc", f"{field}.target")
    return target


def _bad(message: str, field: str) -> InvalidArgument:
    return InvalidArgument(message, reason="BAD_MOUNT", field=field)
