"""Every setting that a container can be created with: one row of one table each.

A row says where the value goes (the proto's field, or ``echo`` for what is only given back by inspect), since which API
version clients may send it, and the function that reads it; or why it is refused. A refused setting is an error as soon
as it has a value other than its zero value, which clients send for everything that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from chassis.errors import Unimplemented
from gateway.rest import contradictions, mount_settings, port_settings
from gateway.rest import decoders as read
from gateway.rest.body import Fields
from gateway.rest.draft import Draft
from gateway.rest.errors import bad
from gateway.rest.versions import OLDEST, Version

Decode = Callable[[Draft, Fields, str], None]

_WINDOWS: Final = "it is for Windows alone"
_LATER: Final = "it is not built yet"


@dataclass(frozen=True)
class Setting:
    """``target`` is a field of ``ContainerSpec``, of the plan, or of the draft; ``neutral`` values ask for nothing.
    Before ``since`` a value is not read; from ``until`` on it is refused with the reason ``gone``."""

    name: str
    target: str = ""
    decode: Decode | None = None
    since: Version = OLDEST
    refused: str = ""
    neutral: tuple[Any, ...] = ()
    until: Version | None = None
    gone: str = ""


def _row(name: str, target: str, decode: Decode, since: tuple[int, int] = OLDEST) -> Setting:
    return Setting(name, target, decode, Version(*since))


def _refused(name: str, why: str, *neutral: Any) -> Setting:
    return Setting(name, refused=why, neutral=neutral)


def _echo(name: str) -> Setting:
    """It changes nothing in the container; inspect gives it back."""
    return Setting(name, "echo", read.nothing)


CONFIG: Final = (
    _row("Hostname", "hostname", read.spec_text("hostname")),
    _row("Domainname", "domainname", read.spec_text("domainname")),
    _row("User", "process.user", read.process_text("user")),
    _echo("AttachStdin"),
    _echo("AttachStdout"),
    _echo("AttachStderr"),
    _row("ExposedPorts", "draft.exposed", port_settings.exposed_ports),
    _row("Tty", "process.terminal", read.process_flag("terminal")),
    _row("OpenStdin", "process.stdin_open", read.process_flag("stdin_open")),
    _row("StdinOnce", "process.stdin_once", read.process_flag("stdin_once")),
    _row("Env", "process.env", read.environment),
    _row("Cmd", "draft.command", read.command),
    _row("Healthcheck", "health_check", read.health_check),
    _refused("ArgsEscaped", _WINDOWS),
    _row("Image", "draft.image", read.image),
    _row("Volumes", "draft.volumes", read.volumes),
    _row("WorkingDir", "process.cwd", read.working_directory),
    _row("Entrypoint", "draft.entrypoint", read.entrypoint),
    _row("NetworkDisabled", "draft.network_disabled", read.network_disabled),
    Setting("MacAddress", "draft.mac", read.draft_text("mac"), until=Version(1, 52),
            gone="since API 1.52 it is a setting of an endpoint: NetworkingConfig.EndpointsConfig.NETWORK.MacAddress"),
    _echo("OnBuild"),
    _row("Labels", "labels", read.labels),
    _row("StopSignal", "stop_signal", read.spec_text("stop_signal")),
    _row("StopTimeout", "stop_timeout", read.stop_timeout, (1, 25)),
    _echo("Shell"),
)
"""ContainerConfig of the published schema, whose fields stand at the top of the request."""

HOST_CONFIG: Final = (
    _row("CpuShares", "resources.cpu_shares", read.resource("cpu_shares")),
    _row("Memory", "resources.memory", read.resource("memory")),
    _row("CgroupParent", "cgroup_parent", read.spec_text("cgroup_parent")),
    _row("BlkioWeight", "resources.blkio_weight", read.resource("blkio_weight")),
    _row("BlkioWeightDevice", "block_io.weights", read.block_devices("weights", "Weight")),
    _row("BlkioDeviceReadBps", "block_io.read_bps", read.block_devices("read_bps", "Rate")),
    _row("BlkioDeviceWriteBps", "block_io.write_bps", read.block_devices("write_bps", "Rate")),
    _row("BlkioDeviceReadIOps", "block_io.read_iops", read.block_devices("read_iops", "Rate")),
    _row("BlkioDeviceWriteIOps", "block_io.write_iops", read.block_devices("write_iops", "Rate")),
    _row("CpuPeriod", "resources.cpu_period", read.resource("cpu_period")),
    _row("CpuQuota", "resources.cpu_quota", read.resource("cpu_quota")),
    _row("CpuRealtimePeriod", "resources.cpu_rt_period", read.resource("cpu_rt_period"), (1, 25)),
    _row("CpuRealtimeRuntime", "resources.cpu_rt_runtime", read.resource("cpu_rt_runtime"), (1, 25)),
    _row("CpusetCpus", "resources.cpuset_cpus", read.resource_text("cpuset_cpus")),
    _row("CpusetMems", "resources.cpuset_mems", read.resource_text("cpuset_mems")),
    _row("Devices", "devices", read.devices),
    _row("DeviceCgroupRules", "device_rules", read.spec_strings("device_rules")),
    _row("DeviceRequests", "cdi_devices", read.device_requests, (1, 40)),
    _row("MemoryReservation", "resources.memory_reservation", read.resource("memory_reservation")),
    _row("MemorySwap", "resources.memory_swap", read.resource("memory_swap")),
    _row("MemorySwappiness", "resources.memory_swappiness", read.swappiness),
    _row("NanoCpus", "resources.nano_cpus", read.resource("nano_cpus"), (1, 25)),
    _row("OomKillDisable", "resources.oom_kill_disable", read.oom_kill_disable),
    _row("Init", "init", read.spec_flag("init"), (1, 25)),
    _row("PidsLimit", "resources.pids", read.pids_limit),
    _row("Ulimits", "process.rlimits", read.ulimits),
    _refused("CpuCount", _WINDOWS),
    _refused("CpuPercent", _WINDOWS),
    _refused("IOMaximumIOps", _WINDOWS),
    _refused("IOMaximumBandwidth", _WINDOWS),
    _row("Binds", "mounts", mount_settings.binds),
    _echo("ContainerIDFile"),
    _row("LogConfig", "log", read.log),
    _row("NetworkMode", "plan.network_mode", read.network_mode),
    _row("PortBindings", "draft.ports", port_settings.port_bindings),
    _row("RestartPolicy", "restart_policy", read.restart_policy),
    _row("AutoRemove", "auto_remove", read.spec_flag("auto_remove"), (1, 25)),
    _refused("VolumeDriver", "volume drivers are not built yet", "local"),
    _row("VolumesFrom", "draft.volumes_from", read.draft_strings("volumes_from")),
    _row("Mounts", "mounts", mount_settings.mounts, (1, 25)),
    _row("ConsoleSize", "process.terminal_height", read.console_size),
    _row("Annotations", "annotations", read.annotation_map, (1, 43)),
    _row("CapAdd", "process.capabilities_add", read.process_strings("capabilities_add")),
    _row("CapDrop", "process.capabilities_drop", read.process_strings("capabilities_drop")),
    _row("CgroupnsMode", "namespaces", read.cgroup_namespace, (1, 41)),
    _row("Dns", "plan.dns", read.draft_strings("dns")),
    _row("DnsOptions", "plan.dns_options", read.draft_strings("dns_options")),
    _row("DnsSearch", "plan.dns_search", read.draft_strings("dns_search")),
    _row("ExtraHosts", "plan.extra_hosts", read.extra_hosts),
    _row("GroupAdd", "process.additional_groups", read.process_strings("additional_groups")),
    _row("IpcMode", "namespaces", read.ipc_mode),
    _refused("Cgroup", _LATER),
    _row("Links", "draft.links", read.draft_strings("links")),
    _row("OomScoreAdj", "process.oom_score_adj", read.oom_score_adj),
    _row("PidMode", "namespaces", read.pid_mode),
    _row("Privileged", "privileged", read.spec_flag("privileged")),
    _row("PublishAllPorts", "draft.publish_all", read.publish_all),
    _row("ReadonlyRootfs", "read_only_rootfs", read.spec_flag("read_only_rootfs")),
    _row("SecurityOpt", "seccomp", read.security_options),
    _refused("StorageOpt", _LATER),
    _row("Tmpfs", "mounts", mount_settings.tmpfs),
    _row("UTSMode", "namespaces", read.uts_mode),
    _refused("UsernsMode", "user namespaces are not built yet", "host"),
    _row("ShmSize", "shm_size", read.shm_size),
    _row("Sysctls", "sysctls", read.sysctls),
    _row("Runtime", "runtime", read.spec_text("runtime")),
    _refused("Isolation", _WINDOWS, "default"),
    _row("MaskedPaths", "masked_paths", read.path_list("masked_paths")),
    _row("ReadonlyPaths", "readonly_paths", read.path_list("readonly_paths")),
)
"""HostConfig, its Resources included."""

NETWORKING: Final = (_row("EndpointsConfig", "draft.endpoints", read.endpoints),)

ENDPOINT_READ_ONLY: Final = frozenset({
    "NetworkID", "EndpointID", "Gateway", "IPAddress", "IPPrefixLen", "IPv6Gateway", "GlobalIPv6Address",
    "GlobalIPv6PrefixLen", "DNSNames",
})
"""Fields of EndpointSettings that Docker reports and clients send back unread."""

ENDPOINT: Final = (
    _row("IPAMConfig", "EndpointSpec.ipv4", read.nothing),
    _row("Links", "EndpointSpec.links", read.nothing),
    _row("MacAddress", "EndpointSpec.mac", read.nothing, (1, 44)),
    _row("Aliases", "EndpointSpec.aliases", read.nothing),
    _row("DriverOpts", "EndpointSpec.driver_options", read.nothing),
    _row("GwPriority", "EndpointSpec.gateway_priority", read.nothing, (1, 48)),
    *(Setting(name, "read-only") for name in sorted(ENDPOINT_READ_ONLY)),
)
"""EndpointSettings; ``networking`` reads them, since a row needs the network that it stands under."""


CHANGEABLE: Final = (
    *(setting.name for setting in HOST_CONFIG if setting.target.startswith("resources.")), "RestartPolicy",
)
"""What can be changed in a container that is made."""

CHANGEABLE_LISTS: Final = {
    setting.name: setting.target.removeprefix("block_io.") for setting in HOST_CONFIG
    if setting.target.startswith("block_io.")
}
"""The same since API 1.55: limits of block devices, by name the field of BlockIoLimits. An empty list takes them
away."""
LISTS_CHANGE_SINCE: Final = Version(1, 55)

_SENT_BY_UPDATE: Final = frozenset({"KernelMemory"})
"""What docker's command sends along with every update, unset."""


def update(request: Fields, version: Version) -> Draft:
    """The limits and the restart policy that ``request``, an update of a container, asks for."""
    made = Draft(version)
    changeable = {*CHANGEABLE, *(CHANGEABLE_LISTS if version >= LISTS_CHANGE_SINCE else ())}
    for setting in HOST_CONFIG:
        if setting.name in changeable and request.raw(setting.name) is not None:
            apply(made, request, [setting])
        elif setting.name in request and request.raw(setting.name) and setting.name not in _SENT_BY_UPDATE:
            where = request.path(setting.name)
            raise Unimplemented(f"{where}: it cannot be changed in a container that is made", reason="NOT_BUILT",
                                field=where)
    return made


def draft(request: Fields, version: Version) -> Draft:
    """The container that ``request`` asks for. InvalidArgument or Unimplemented names the setting."""
    made = Draft(version)
    host = request.object("HostConfig")
    networking = request.object("NetworkingConfig")
    # Inner objects are named by their own path in errors, so the outer fields keep bare names.
    for fields, table in ((request, CONFIG), (host, HOST_CONFIG), (networking, NETWORKING)):
        apply(made, fields, table)
    contradictions.check(made, host)
    return made


def apply(made: Draft, fields: Fields, table: Iterable[Setting]) -> None:
    """Read every setting of ``table`` that ``fields`` gives."""
    for setting in table:
        if setting.name not in fields:
            continue
        if setting.until is not None and made.version >= setting.until and fields.raw(setting.name):
            raise bad(f"{fields.path(setting.name)}: {setting.gone}", field=fields.path(setting.name))
        if setting.decode is None:
            refuse(fields, setting)
        elif made.version >= setting.since:
            setting.decode(made, fields, setting.name)


def refuse(fields: Fields, setting: Setting) -> None:
    """Unimplemented where a refused setting asks for something."""
    value = fields.raw(setting.name)
    if setting.refused and value and value not in setting.neutral:
        where = fields.path(setting.name)
        raise Unimplemented(f"{where}: {setting.refused}", reason="NOT_BUILT", field=where)
