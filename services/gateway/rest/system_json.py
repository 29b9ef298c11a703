"""Version and info as Docker shows them."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from chassis.version import VERSION
from gateway.rest import image_json
from gateway.rest.host_facts import Host
from gateway.rest.versions import NEWEST, OLDEST, Version
from pier.exec.v1 import exec_pb2
from pier.system.v1 import system_pb2

_RUNTIME: Final = "runtime."
_RUNNING: Final = (exec_pb2.CONTAINER_STATE_RUNNING, exec_pb2.CONTAINER_STATE_RESTARTING)
_SECCOMP: Final = "name=seccomp,profile=builtin"
_INDEX: Final = "https://index.docker.io/v1/"
_WARNINGS: Final = {
    "MemoryLimit": "WARNING: No memory limit support", "SwapLimit": "WARNING: No swap limit support",
    "CpuCfsQuota": "WARNING: No cpu cfs quota support", "CPUShares": "WARNING: No cpu shares support",
    "CPUSet": "WARNING: No cpuset support", "PidsLimit": "WARNING: No pids limit support",
}
"""What the kernel here cannot limit, as Docker says it."""


def version(host: Host, services: Sequence[system_pb2.InfoResponse]) -> dict[str, Any]:
    """The answer to /version; the components are the engine, then each service that answered."""
    details = {
        "ApiVersion": str(NEWEST), "Arch": host.architecture, "BuildTime": "", "Experimental": "false",
        "GitCommit": "", "GoVersion": "", "KernelVersion": host.kernel, "MinAPIVersion": str(OLDEST), "Os": "linux",
    }
    components: list[dict[str, Any]] = [{"Name": "Engine", "Version": VERSION, "Details": details}]
    components += [{"Name": each.service, "Version": each.version, "Details": dict(each.facts)} for each in services]
    return {
        "Platform": {"Name": "Pier"}, "Components": components, "Version": VERSION, "ApiVersion": str(NEWEST),
        "MinAPIVersion": str(OLDEST), "GitCommit": "", "GoVersion": "", "Os": "linux", "Arch": host.architecture,
        "KernelVersion": host.kernel, "BuildTime": "",
    }


def info(
    host: Host, identity: str, root: str, containers: Iterable[exec_pb2.Container], images: int,
    execd: Mapping[str, str], listeners: int, version_: Version,
) -> dict[str, Any]:
    """The answer to /info. ``root`` is the instance's state directory, ``execd`` that service's facts, ``listeners``
    the number of those who follow events."""
    states = Counter(container.status.state for container in containers)
    running = sum(states[state] for state in _RUNNING)
    paused = states[exec_pb2.CONTAINER_STATE_PAUSED]
    return {
        "ID": identity, "Containers": states.total(), "ContainersRunning": running, "ContainersPaused": paused,
        "ContainersStopped": states.total() - running - paused, "Images": images,
        "Driver": image_json.DRIVER, "DriverStatus": [["Backing Filesystem", _filesystem(root)]],
        "Plugins": {"Volume": ["local"], "Network": ["bridge", "host", "ipvlan", "macvlan", "null"],
                    "Authorization": None, "Log": ["fluentd", "journald", "json-file", "local", "syslog"]},
        **host.limits, "CpuRtPeriod": host.realtime, "CpuRtRuntime": host.realtime, "IPv4Forwarding": host.forwarding,
        "Debug": False, "NFd": len(os.listdir("/proc/self/fd")), "NGoroutines": len(asyncio.all_tasks()),
        "SystemTime": datetime.fromtimestamp(time.time(), UTC).isoformat().replace("+00:00", "Z"),
        "LoggingDriver": "json-file", "CgroupDriver": "cgroupfs", "CgroupVersion": str(host.cgroup_version),
        "KernelVersion": host.kernel, "OperatingSystem": host.system,
        "OSVersion": host.system_version, "OSType": "linux", "Architecture": host.machine, "NCPU": host.cpus,
        "MemTotal": host.memory, "IndexServerAddress": _INDEX, "RegistryConfig": _registries(version_),
        "DockerRootDir": root, "HttpProxy": _proxy("HTTP_PROXY"),
        "HttpsProxy": _proxy("HTTPS_PROXY"), "NoProxy": _proxy("NO_PROXY"), "Name": host.name, "Labels": [],
        "ExperimentalBuild": False, "ServerVersion": VERSION,
        "Runtimes": {
            # Behind the path stands what its probe has found: Docker's clients want the path.
            key.removeprefix(_RUNTIME): {"path": told.partition(",")[0]}
            for key, told in execd.items() if key.startswith(_RUNTIME)
        },
        "DefaultRuntime": execd.get("default_runtime", ""),
        "Swarm": _no_swarm(), "LiveRestoreEnabled": True, "Isolation": "", "InitBinary": "",
        "ContainerdCommit": {"ID": ""}, "RuncCommit": {"ID": ""}, "InitCommit": {"ID": ""},
        "SecurityOptions": [_SECCOMP, *(["name=cgroupns"] if host.cgroup_version > 1 else [])],
        "CDISpecDirs": [], "FirewallBackend": {"Driver": "nftables"},
        "Warnings": [text for key, text in _WARNINGS.items() if not host.limits[key]] or None,
        "GenericResources": None, "NEventsListener": listeners,
        **_until_1_50(host, version_),
    }


def _until_1_50(host: Host, version_: Version) -> dict[str, Any]:
    """What Docker has left out since API 1.50."""
    ipv4, ipv6 = host.bridge_filters
    return {} if version_ >= Version(1, 50) else {"BridgeNfIptables": ipv4, "BridgeNfIp6tables": ipv6}


def _registries(version_: Version) -> dict[str, Any]:
    made: dict[str, Any] = {
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
        "IndexConfigs": {"docker.io": {"Mirrors": [], "Name": "docker.io", "Official": True, "Secure": True}},
        "Mirrors": [],
    }
    if version_ < Version(1, 49):
        made |= {"AllowNondistributableArtifactsCIDRs": [], "AllowNondistributableArtifactsHostnames": []}
    return made


def _no_swarm() -> dict[str, Any]:
    return {
        "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": False, "Error": "",
        "RemoteManagers": None,
    }


def _proxy(name: str) -> str:
    """The proxy, without the credentials that may stand in its URL."""
    value = os.environ.get(name) or os.environ.get(name.lower(), "")
    scheme, separator, rest = value.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]


def _filesystem(path: str) -> str:
    """Type of the file system that holds ``path``: the mount with the longest matching place."""
    best, kind = "", "unknown"
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
        for line in mounts:
            _, place, name, *_ = line.split(" ")
            inside = path == place or path.startswith(place.rstrip("/") + "/")
            if inside and len(place) >= len(best):
                best, kind = place, name
    return kind
