"""The document that the runtime reads: OCI runtime specification 1.1, ``config.json`` and ``process.json``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from execd.oci import block_io, cdi, devices, limits, mounts
from execd.oci.users import User
from pier.exec.v1 import exec_pb2

PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MASKED: Final = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_NAMESPACES: Final = {
    exec_pb2.NAMESPACE_KIND_NETWORK: "network", exec_pb2.NAMESPACE_KIND_PID: "pid",
    exec_pb2.NAMESPACE_KIND_IPC: "ipc", exec_pb2.NAMESPACE_KIND_UTS: "uts", exec_pb2.NAMESPACE_KIND_CGROUP: "cgroup",
}
_UNLIMITED: Final = 1 << 64
"""Modulo of rlim_t: −1 is RLIM_INFINITY."""
INIT: Final = "/sbin/docker-init"
"""Where Docker has it, too."""
Document = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where this life of the container is: ``rootfs`` as the shim sees it, the cgroup below each hierarchy, the
    engine's files by their target, where the shim put cloned binds, namespaces that the start gave, the host's program
    that becomes the init of a container that asks for one, where the shim put another container's /dev/shm, and the
    environment that the start gave, beneath the spec's, and above it."""

    container: str
    rootfs: str
    cgroup: str
    files: Mapping[str, str]
    binds: dict[bytes, str]
    namespaces: tuple[exec_pb2.NamespaceRef, ...]
    init: str = ""
    shm: str = ""
    env: tuple[bytes, ...] = ()
    secret_env: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Filter:
    """The seccomp filter in the form that the runtime is trusted with: OCI's rules, or crun's own annotation."""

    rules: Document | None
    annotations: Mapping[str, str]


def config(
    spec: exec_pb2.ContainerSpec, place: Place, user: User, caps: frozenset[str], seccomp: Filter
) -> Document:
    """config.json for one life of the container."""
    host_name = hostname(spec, place.container)
    references = _namespaces(spec, place)
    linux: Document = {
        "namespaces": [{"type": "mount"}, *references],
        "cgroupsPath": f"/{place.cgroup}",
        "resources": _resources(spec),
        "rootfsPropagation": mounts.propagation(spec.mounts),
    }
    linux["devices"] = devices.all_of_host() if spec.privileged else [devices.node(device) for device in spec.devices]
    if not spec.privileged:
        linux["maskedPaths"] = _paths(spec.masked_paths) if spec.HasField("masked_paths") else list(MASKED)
        linux["readonlyPaths"] = _paths(spec.readonly_paths) if spec.HasField("readonly_paths") else list(READONLY)
    if spec.sysctls:
        linux["sysctl"] = dict(spec.sysctls)
    if seccomp.rules is not None:
        linux["seccomp"] = seccomp.rules
    document: Document = {
        "ociVersion": "1.0.2",
        "process": process(spec.process, user, caps, host_name, place.env),
        "root": {"path": place.rootfs, "readonly": spec.read_only_rootfs},
        "mounts": [
            *mounts.standard(_shm(spec, place), writable_cgroups=spec.privileged),
            *(mounts.file_bind(source, target) for target, source in place.files.items()),
            *mounts.from_spec(spec.mounts, place.binds),
        ],
        "linux": linux,
        "annotations": {**spec.annotations, **seccomp.annotations},
    }
    if place.secret_env:
        document["process"]["env"] = above(document["process"]["env"], place.secret_env)
    if has_init(spec):
        document["mounts"].append(mounts.program_bind(place.init, INIT))
        document["process"]["args"] = [INIT, "--", *document["process"]["args"]]
    if any(item["type"] == "uts" for item in references):
        document["hostname"] = host_name
        if spec.domainname:  # runtimes of today know no key of its own for it, but all know the sysctl
            linux["sysctl"] = {**linux.get("sysctl", {}), "kernel.domainname": spec.domainname}
    cdi.inject(document, spec.cdi_devices)
    return document


def has_init(spec: exec_pb2.ContainerSpec) -> bool:
    """Whether an init is its first process: it asks for one, and has processes of its own to reap (as Docker)."""
    kinds = {reference.kind for reference in spec.namespaces}
    return spec.init and exec_pb2.NAMESPACE_KIND_PID not in kinds


def process(
    spec: exec_pb2.Process, user: User, caps: frozenset[str], host_name: str, beneath: Iterable[bytes] = ()
) -> Document:
    """process.json; also the ``process`` of config.json. ``beneath``: environment that the spec's goes before."""
    names = sorted(caps)
    document: Document = {
        "terminal": spec.terminal,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "args": [os.fsdecode(value) for value in spec.args],
        "env": environment(spec, user, host_name, beneath),
        "cwd": os.fsdecode(spec.cwd) or "/",
        # No inheritable and no ambient ones (CVE-2022-27652).
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
        "noNewPrivileges": spec.no_new_privileges,
    }
    if spec.terminal and spec.terminal_height and spec.terminal_width:
        document["consoleSize"] = {"height": spec.terminal_height, "width": spec.terminal_width}
    if spec.rlimits:
        document["rlimits"] = [
            {"type": f"RLIMIT_{item.name.upper()}", "soft": item.soft % _UNLIMITED, "hard": item.hard % _UNLIMITED}
            for item in spec.rlimits
        ]
    if spec.HasField("oom_score_adj"):
        document["oomScoreAdj"] = spec.oom_score_adj
    return document


def environment(
    spec: exec_pb2.Process, user: User, host_name: str, beneath: Iterable[bytes] = ()
) -> list[str]:
    """PATH, HOSTNAME, TERM (on a terminal), what is ``beneath``, then the spec's, then HOME, each where the spec has
    none."""
    given = [os.fsdecode(value) for value in spec.env]
    names = {value.partition("=")[0] for value in given}
    first = [PATH, f"HOSTNAME={host_name}", *(["TERM=xterm"] if spec.terminal else []), *map(os.fsdecode, beneath)]
    last = [] if "HOME" in names else [f"HOME={user.home or '/'}"]
    return [*(value for value in first if value.partition("=")[0] not in names), *given, *last]


def above(env: Iterable[str], given: Iterable[bytes]) -> list[str]:
    """``env`` with the entries that are ``given`` in the place of those of the same names."""
    entries = [os.fsdecode(value) for value in given]
    names = {value.partition("=")[0] for value in entries}
    return [*(value for value in env if value.partition("=")[0] not in names), *entries]


def hostname(spec: exec_pb2.ContainerSpec, container: str) -> str:
    return spec.hostname or container[:12]


def is_v2() -> bool:
    """Whether the host's cgroups are version 2 alone; Docker then gives each container a cgroup namespace."""
    return Path("/sys/fs/cgroup/cgroup.controllers").exists()


def _namespaces(spec: exec_pb2.ContainerSpec, place: Place) -> list[Document]:
    given = {reference.kind: reference for reference in (*spec.namespaces, *place.namespaces)}
    found = []
    for kind, name in _NAMESPACES.items():
        reference = given.get(kind)
        source = reference.WhichOneof("source") if reference is not None else None
        if reference is not None and source == "path":
            found.append({"type": name, "path": os.fsdecode(reference.path)})
        elif source == "fresh" or (source is None and (name != "cgroup" or is_v2())):
            found.append({"type": name})
    return found


def _shm(spec: exec_pb2.ContainerSpec, place: Place) -> Document | None:
    """Its own, unless its ipc namespace is the host's or another container's."""
    if spec.no_shm:
        return None
    if place.shm:
        return mounts.shared_shm(place.shm)
    host = any(item.kind == exec_pb2.NAMESPACE_KIND_IPC and item.WhichOneof("source") == "host"
               for item in spec.namespaces)
    return mounts.shared_shm(mounts.SHM) if host else mounts.own_shm(spec.shm_size)


def _resources(spec: exec_pb2.ContainerSpec) -> Document:
    document = limits.linux_resources(spec.resources)
    if by_device := block_io.of(spec.block_io):
        document["blockIO"] = {**document.get("blockIO", {}), **by_device}
    document["devices"] = devices.rules(spec.devices, spec.device_rules, privileged=spec.privileged)
    return document


def _paths(given: exec_pb2.PathList) -> list[str]:
    return [os.fsdecode(path) for path in given.paths]
