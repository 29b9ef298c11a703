"""Resources as OCI's ``linux.resources``: one form that runtimes write to cgroup v1 and v2 alike."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from chassis.errors import InvalidArgument
from execd import realtime
from execd.oci import cpu_sets
from pier.exec.v1 import exec_pb2

MEMORY_MIN: Final = 6 << 20
"""Docker's least memory in bytes."""
SHARES: Final = (2, 262144)
"""The kernel's least and most; it takes what is beyond for these, and a runtime has to translate them for cgroup v2."""
_PERIOD: Final = 100_000
_NO_SWAP: Final = (
    "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap."
)
_NO_SWAPPINESS: Final = (
    "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness "
    "discarded."
)


def swap_is_limitable() -> bool:
    """Whether the kernel keeps account of swap (v1: ``swapaccount=1``; v2 always)."""
    return Path("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists() or (
        Path("/sys/fs/cgroup/cgroup.controllers").exists()
    )


def swappiness_is_settable() -> bool:
    """Whether each memory cgroup has its own: v1's do."""
    return Path("/sys/fs/cgroup/memory/memory.swappiness").exists()


def check(resources: exec_pb2.Resources, field: str = "spec.resources") -> list[str]:
    """Warnings about what cannot be had here; InvalidArgument (OUT_OF_RANGE, CONTRADICTION) in Docker's words."""
    if resources.HasField("memory") and resources.memory and resources.memory < MEMORY_MIN:
        raise _range("Minimum memory limit allowed is 6MB", f"{field}.memory", f"at least {MEMORY_MIN}")
    if resources.HasField("memory_swap") and resources.memory_swap > 0:
        if not resources.memory:
            raise _contradiction("You should always set the Memory limit when using Memoryswap limit, see usage",
                                 f"{field}.memory_swap")
        if resources.memory_swap < resources.memory:
            raise _range("Minimum memoryswap limit should be larger than memory limit, see usage",
                         f"{field}.memory_swap", f"at least {resources.memory}")
    if resources.memory_reservation and resources.memory and resources.memory_reservation > resources.memory:
        raise _range("Minimum memory limit can not be less than memory reservation limit, see usage",
                     f"{field}.memory_reservation", f"at most {resources.memory}")
    if resources.nano_cpus:
        if resources.HasField("cpu_period") or resources.HasField("cpu_quota"):
            raise _contradiction("Conflicting options: Nano CPUs and CPU Period cannot both be set",
                                 f"{field}.nano_cpus")
        most = os.cpu_count() or 1
        if not 10_000_000 <= resources.nano_cpus <= most * 10**9:
            raise _range(
                f"Range of CPUs is from 0.01 to {most}.00, as there are only {most} CPUs available",
                f"{field}.nano_cpus", f"10000000 to {most * 10**9}",
            )
    if resources.cpu_period and not 1000 <= resources.cpu_period <= 1_000_000:
        raise _range("CPU cfs period must be between 1ms and 1s", f"{field}.cpu_period", "1000 to 1000000")
    if resources.HasField("cpu_quota") and 0 < resources.cpu_quota < 1000:
        raise _range("CPU cfs quota cannot be less than 1ms", f"{field}.cpu_quota", "at least 1000")
    cpu_sets.check(resources, field)
    if resources.cpu_rt_period or resources.cpu_rt_runtime:
        if realtime.root() is None:
            raise InvalidArgument("Your kernel does not support CPU real-time scheduler", reason="NO_REALTIME",
                                  field=f"{field}.cpu_rt_runtime", expected="cgroup v1 with cpu.rt_runtime_us")
        if resources.cpu_rt_runtime > (resources.cpu_rt_period or 1_000_000):
            raise _contradiction("cpu real-time runtime cannot be higher than cpu real-time period",
                                 f"{field}.cpu_rt_runtime")
    if resources.HasField("pids") and resources.pids < -1:
        raise _range("PIDs limit is -1 for unlimited, or positive", f"{field}.pids", "at least -1")
    if resources.HasField("blkio_weight") and resources.blkio_weight and not 10 <= resources.blkio_weight <= 1000:
        raise _range("Range of blkio weight is from 10 to 1000", f"{field}.blkio_weight", "10 to 1000")
    if resources.memory_swappiness > 100:
        raise _range(f"Invalid value: {resources.memory_swappiness}, valid memory swappiness range is 0-100",
                     f"{field}.memory_swappiness", "0 to 100")
    warnings = [_NO_SWAP] if resources.memory and not swap_is_limitable() else []
    if resources.HasField("memory_swappiness") and not swappiness_is_settable():
        warnings.append(_NO_SWAPPINESS)
    return warnings


def linux_resources(resources: exec_pb2.Resources) -> dict[str, Any]:
    """OCI's object, without devices."""
    document: dict[str, Any] = {}
    memory: dict[str, int] = {}
    if resources.memory:
        memory["limit"] = resources.memory
        if swap_is_limitable():
            memory["swap"] = resources.memory_swap or resources.memory * 2
    if resources.memory_reservation:
        memory["reservation"] = resources.memory_reservation
    if resources.HasField("memory_swappiness") and swappiness_is_settable():
        memory["swappiness"] = resources.memory_swappiness
    if resources.oom_kill_disable:
        memory["disableOOMKiller"] = True
    if memory:
        document["memory"] = memory
    cpu: dict[str, Any] = {}
    if resources.cpu_shares:
        cpu["shares"] = min(max(resources.cpu_shares, SHARES[0]), SHARES[1])
    if resources.nano_cpus:
        cpu["period"], cpu["quota"] = _PERIOD, resources.nano_cpus * _PERIOD // 10**9
    if resources.cpu_period:
        cpu["period"] = resources.cpu_period
    if resources.cpu_quota:
        cpu["quota"] = resources.cpu_quota
    if resources.cpu_rt_period:
        cpu["realtimePeriod"] = resources.cpu_rt_period
    if resources.cpu_rt_runtime:
        cpu["realtimeRuntime"] = resources.cpu_rt_runtime
    if resources.cpuset_cpus:
        cpu["cpus"] = resources.cpuset_cpus
    if resources.cpuset_mems:
        cpu["mems"] = resources.cpuset_mems
    if cpu:
        document["cpu"] = cpu
    if resources.pids > 0:
        document["pids"] = {"limit": resources.pids}
    if resources.blkio_weight:
        document["blockIO"] = {"weight": resources.blkio_weight}
    return document


def _range(message: str, field: str, expected: str) -> InvalidArgument:
    return InvalidArgument(message, reason="OUT_OF_RANGE", field=field, expected=expected)


def _contradiction(message: str, field: str) -> InvalidArgument:
    return InvalidArgument(message, reason="CONTRADICTION", field=field)
