"""What Docker tells of the machine, read where the kernel and the distribution keep it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
"""The kernel's names of architectures in Go's spelling."""
_CGROUPS: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Host:
    """``memory`` in bytes; ``cgroup_version`` 1 or 2; ``limits`` says which the kernel can set, by Docker's keys;
    ``realtime``: shares of the real-time scheduler, too."""

    name: str
    kernel: str
    machine: str
    system: str
    system_version: str
    cpus: int
    memory: int
    cgroup_version: int
    limits: dict[str, bool]
    forwarding: bool
    realtime: bool
    bridge_filters: tuple[bool, bool]
    """Whether packets within a bridge pass the firewall: IPv4's, IPv6's."""

    @property
    def architecture(self) -> str:
        """As Go and the OCI spell it."""
        return MACHINES.get(self.machine, self.machine)


def is_unified() -> bool:
    """Whether the host's cgroups are version 2 alone."""
    return (_CGROUPS / "cgroup.controllers").exists()


def read() -> Host:
    """The machine as it is now."""
    names = os.uname()
    release = _os_release()
    unified = is_unified()
    return Host(
        name=names.nodename, kernel=names.release, machine=names.machine,
        system=release.get("PRETTY_NAME", "Linux"), system_version=release.get("VERSION_ID", ""),
        cpus=len(os.sched_getaffinity(0)), memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        cgroup_version=2 if unified else 1, limits=_limits_v2() if unified else _limits_v1(),
        forwarding=_text(Path("/proc/sys/net/ipv4/ip_forward")) == "1",
        realtime=(_CGROUPS / "cpu" / "cpu.rt_runtime_us").exists(),
        bridge_filters=(_bridge_filter("iptables"), _bridge_filter("ip6tables")),
    )


def _bridge_filter(program: str) -> bool:
    return _text(Path(f"/proc/sys/net/bridge/bridge-nf-call-{program}")) == "1"


def _limits_v1() -> dict[str, bool]:
    def has(*parts: str) -> bool:
        return _CGROUPS.joinpath(*parts).exists()

    return _named(
        memory=has("memory", "memory.limit_in_bytes"), swap=has("memory", "memory.memsw.limit_in_bytes"),
        quota=has("cpu", "cpu.cfs_quota_us"), shares=has("cpu", "cpu.shares"), cpuset=has("cpuset", "cpuset.cpus"),
        pids=has("pids"), oom=has("memory", "memory.oom_control"),
    )


def _limits_v2() -> dict[str, bool]:
    there = _text(_CGROUPS / "cgroup.controllers").split()
    swap = Path("/proc/swaps").exists()
    return _named(
        memory="memory" in there, swap="memory" in there and swap, quota="cpu" in there, shares="cpu" in there,
        cpuset="cpuset" in there, pids="pids" in there, oom=False,
    )


def _named(
    *, memory: bool, swap: bool, quota: bool, shares: bool, cpuset: bool, pids: bool, oom: bool
) -> dict[str, bool]:
    return {
        "MemoryLimit": memory, "SwapLimit": swap, "CpuCfsPeriod": quota, "CpuCfsQuota": quota, "CPUShares": shares,
        "CPUSet": cpuset, "PidsLimit": pids, "OomKillDisable": oom,
    }


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
