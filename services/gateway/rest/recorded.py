"""`HostConfig` of a container that another face made: no request of Docker's is kept with it; its record is asked."""

from __future__ import annotations

from typing import Any, Final

from gateway.rest import container_view as view
from gateway.rest import wire
from gateway.rest.body import Fields
from pier.exec.v1 import exec_pb2

_LIMITS: Final = {
    "Memory": "memory", "MemorySwap": "memory_swap", "MemoryReservation": "memory_reservation", "NanoCpus": "nano_cpus",
    "CpuShares": "cpu_shares", "CpuPeriod": "cpu_period", "CpuQuota": "cpu_quota", "CpusetCpus": "cpuset_cpus",
    "CpusetMems": "cpuset_mems", "PidsLimit": "pids", "BlkioWeight": "blkio_weight",
    "OomKillDisable": "oom_kill_disable", "MemorySwappiness": "memory_swappiness",
}
"""Docker's word → field of pier.exec.v1.Resources."""


def host_config(container: exec_pb2.Container, asked: Fields) -> dict[str, Any]:
    """What of it is set; empty for a container that Docker's face made, whose request names its image."""
    if "Image" in asked:
        return {}
    spec, plan = container.spec, view.plan(container)
    process, resources = spec.process, spec.resources
    shown = {word: value for word, field in _LIMITS.items() if (value := getattr(resources, field))}
    shown |= {
        "Binds": _binds(container), "CapAdd": list(process.capabilities_add),
        "CapDrop": list(process.capabilities_drop), "Dns": list(plan.dns), "DnsSearch": list(plan.dns_search),
        "DnsOptions": list(plan.dns_options), "ExtraHosts": list(plan.extra_hosts),
        "GroupAdd": list(process.additional_groups), "OomScoreAdj": process.oom_score_adj, "Init": spec.init,
        "ReadonlyRootfs": spec.read_only_rootfs, "Runtime": spec.runtime, "ShmSize": spec.shm_size,
        "Sysctls": dict(spec.sysctls), "Annotations": dict(spec.annotations), "CgroupParent": spec.cgroup_parent,
        "DeviceCgroupRules": list(spec.device_rules),
        "Ulimits": [{"Name": each.name, "Soft": each.soft, "Hard": each.hard} for each in process.rlimits],
    }
    return {word: value for word, value in shown.items() if value}


def _binds(container: exec_pb2.Container) -> list[str]:
    """"SOURCE:TARGET[:ro]" of binds and named volumes, as docker's -v has them."""
    volumes = {each.target: each for each in view.plan(container).volumes}
    found = []
    for mount in container.spec.mounts:
        if mount.type != "bind":
            continue
        known = volumes.get(mount.target)
        source = known.name if known is not None else wire.text(mount.source)
        read_only = any(option.key == "ro" for option in mount.options)
        found.append(f"{source}:{wire.text(mount.target)}{':ro' if read_only else ''}")
    return found
