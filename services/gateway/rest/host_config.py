"""`HostConfig` as inspect reports it: every key of the schema, what was asked for, and the defaults that hold."""

from __future__ import annotations

from typing import Any, Final

from gateway.rest import container_view as view
from gateway.rest import host_facts, recorded
from gateway.rest.body import Fields, as_fields, as_list
from gateway.rest.draft import Draft
from gateway.rest.port_settings import port_bindings
from gateway.rest.versions import OLDEST, Version
from pier.exec.v1 import exec_pb2

_MASKED: Final = [
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/firmware",
]
_READ_ONLY: Final = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

DEFAULTS: Final[dict[str, Any]] = {
    "Binds": None, "ContainerIDFile": "", "LogConfig": {"Type": "json-file", "Config": {}}, "NetworkMode": "bridge",
    "PortBindings": {}, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "AutoRemove": False,
    "VolumeDriver": "", "VolumesFrom": None, "ConsoleSize": [0, 0], "Annotations": None, "CapAdd": None,
    "CapDrop": None, "CgroupnsMode": "private", "Dns": None, "DnsOptions": None, "DnsSearch": None,
    "ExtraHosts": None, "GroupAdd": None, "IpcMode": "private", "Cgroup": "", "Links": None, "OomScoreAdj": 0,
    "PidMode": "", "Privileged": False, "PublishAllPorts": False, "ReadonlyRootfs": False, "SecurityOpt": None,
    "StorageOpt": None, "Tmpfs": None, "UTSMode": "", "UsernsMode": "", "ShmSize": 64 << 20, "Sysctls": None,
    "Runtime": "crun", "Isolation": "", "CpuShares": 0, "Memory": 0, "NanoCpus": 0, "CgroupParent": "",
    "BlkioWeight": 0, "BlkioWeightDevice": None, "BlkioDeviceReadBps": None, "BlkioDeviceWriteBps": None,
    "BlkioDeviceReadIOps": None, "BlkioDeviceWriteIOps": None, "CpuPeriod": 0, "CpuQuota": 0, "CpuRealtimePeriod": 0,
    "CpuRealtimeRuntime": 0, "CpusetCpus": "", "CpusetMems": "", "Devices": None, "DeviceCgroupRules": None,
    "DeviceRequests": None, "MemoryReservation": 0, "MemorySwap": 0, "MemorySwappiness": None,
    "OomKillDisable": False, "Init": None, "PidsLimit": None, "Ulimits": None, "CpuCount": 0, "CpuPercent": 0,
    "IOMaximumIOps": 0, "IOMaximumBandwidth": 0, "Mounts": None, "MaskedPaths": _MASKED, "ReadonlyPaths": _READ_ONLY,
}
_DROPPED_WHEN_NULL: Final = ("Mounts", "Annotations", "StorageOpt", "Tmpfs", "Sysctls", "Init")
"""Go leaves these out where they are not set."""
_KEEP_DEFAULT_FOR_EMPTY: Final = ("NetworkMode", "ShmSize", "Runtime", "IpcMode", "CgroupnsMode", "PortBindings")


_WITHOUT_KERNEL_MEMORY: Final = Version(1, 42)


def of(container: exec_pb2.Container, fields: Fields, version: Version) -> dict[str, Any]:
    """The container's, from the request kept with it, as clients of API ``version`` know it."""
    given = fields.object("HostConfig")
    shown: dict[str, Any] = {}
    for name, default in (DEFAULTS | recorded.host_config(container, fields)).items():
        value = given.raw(name)
        if value is None or (not value and name in _KEEP_DEFAULT_FOR_EMPTY):
            value = default
        if value is not None or name not in _DROPPED_WHEN_NULL:
            shown[name] = value
    spec = container.spec
    if not given.text("CgroupnsMode") and not host_facts.is_unified():
        shown["CgroupnsMode"] = "host"
    if version < _WITHOUT_KERNEL_MEMORY:
        shown |= {"KernelMemory": 0, "KernelMemoryTCP": 0}
    if given.raw("PortBindings"):
        shown["PortBindings"] = _bindings(given)
    shown["NetworkMode"] = view.plan(container).network_mode
    shown["RestartPolicy"] = {
        "Name": spec.restart_policy.name or "no", "MaximumRetryCount": spec.restart_policy.maximum_retry_count
    }
    shown["LogConfig"] = {"Type": spec.log.driver or "json-file", "Config": dict(spec.log.options)}
    shown["AutoRemove"], shown["Privileged"] = spec.auto_remove, spec.privileged
    if shown["NetworkMode"] == "bridge" and (links := given.strings("Links")):
        pairs = (link.partition(":")[::2] for link in links)
        shown["Links"] = [f"/{name}:/{container.name}/{alias or name}" for name, alias in pairs]
    if (bindings := _changed_bindings(container, given)) is not None:
        shown["PortBindings"] = bindings
    if spec.resources.memory and not spec.resources.HasField("memory_swap"):
        shown["MemorySwap"] = spec.resources.memory * 2
    if spec.privileged and given.raw("MaskedPaths") is None:
        shown["MaskedPaths"] = shown["ReadonlyPaths"] = None
    return shown


def _bindings(given: Fields) -> dict[str, Any]:
    """`PortBindings` as they were asked for, each with all its keys."""
    bindings = given.object("PortBindings")
    return {
        name: None if value is None else [
            {"HostIp": entry.text("HostIp"), "HostPort": entry.text("HostPort")}
            for entry in (as_fields(each, name) for each in as_list(value, name))
        ] for name, value in bindings.document.items()
    }


def _changed_bindings(container: exec_pb2.Container, given: Fields) -> dict[str, Any] | None:
    """`PortBindings` where the container's ports have been changed since it was made, else None."""
    draft = Draft(OLDEST)
    port_bindings(draft, given, "PortBindings")
    ports = list(view.plan(container).ports)
    return None if given.raw("PublishAllPorts") or ports == draft.ports else view.port_map(ports)
