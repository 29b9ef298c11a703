"""Every field of an answer by the newest API version: no other than the published schema's, and all of those.

The names are the schema's (Engine API 1.56). One that stands after ``|`` is not always there; one after ``+`` is not
the schema's: Docker's own answers have it, or Pier tells more.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from gateway.rest.versions import NEWEST
from tests.e2e.wire import Wire

_SUM: Final = "ActiveCount TotalCount Reclaimable TotalSize | Items"
_CPU: Final = "cpu_usage throttling_data | system_cpu_usage online_cpus"
_CPU_USAGE: Final = "total_usage usage_in_kernelmode usage_in_usermode | percpu_usage"
_ENDPOINT: Final = (
    "Aliases DNSNames DriverOpts EndpointID Gateway GlobalIPv6Address GlobalIPv6PrefixLen GwPriority IPAMConfig "
    "IPAddress IPPrefixLen IPv6Gateway Links MacAddress NetworkID"
)
_MOUNT: Final = "Destination Driver Mode Name Propagation RW Source Type"
_NETWORK: Final = (
    "Attachable ConfigFrom ConfigOnly Created Driver EnableIPv4 EnableIPv6 IPAM Id Ingress Internal Labels Name "
    "Options Scope"
)
_VOLUME: Final = "CreatedAt Driver Labels Mountpoint Name Options Scope | ClusterVolume Status UsageData"
_IMAGE: Final = (
    "Containers Created Id Labels ParentId RepoDigests RepoTags SharedSize Size | Descriptor Manifests"
)
_CONTAINER: Final = (
    "Command Created Health HostConfig Id Image ImageID Labels Mounts Names NetworkSettings Ports State Status "
    "| ImageManifestDescriptor SizeRootFs SizeRw"
)

FIELDS: Final[dict[str, dict[str, str]]] = {
    "/containers/api/json?size=1": {
        "": "AppArmorProfile Args Config Created Driver ExecIDs GraphDriver HostConfig HostnamePath HostsPath Id Image "
            "LogPath MountLabel Mounts Name NetworkSettings Path Platform ProcessLabel ResolvConfPath RestartCount "
            "SizeRootFs SizeRw State | ImageManifestDescriptor Storage",
        "State": "Dead Error ExitCode FinishedAt Health OOMKilled Paused Pid Restarting Running StartedAt Status "
                 "+ LogBytesLost LogError",
        "State.Health": "FailingStreak Log Status",
        "NetworkSettings": "Networks Ports SandboxID SandboxKey",
        "NetworkSettings.Networks.fields": _ENDPOINT,
        "NetworkSettings.Ports.80/tcp.[]": "HostIp HostPort",
        "Mounts.[]": _MOUNT,
        "GraphDriver": "Name Data",
        "Config": "AttachStderr AttachStdin AttachStdout Cmd Domainname Entrypoint Env ExposedPorts Healthcheck "
                  "Hostname Image Labels OpenStdin StdinOnce Tty User Volumes WorkingDir | ArgsEscaped NetworkDisabled "
                  "OnBuild Shell StopSignal StopTimeout",
    },
    "/containers/json?size=1": {
        "[]": _CONTAINER, "[].Health": "Status FailingStreak", "[].HostConfig": "NetworkMode | Annotations",
        "[].NetworkSettings": "Networks", "[].NetworkSettings.Networks.fields": _ENDPOINT, "[].Mounts.[]": _MOUNT,
        "[].Ports.[]": "PrivatePort Type | IP PublicPort",
    },
    "/images/busybox/json": {
        "": "Architecture Config Created GraphDriver Id Metadata Os RepoDigests RepoTags RootFS Size | Author Comment "
            "Descriptor Identity Manifests OsVersion Variant",
        "Config": "Cmd | ArgsEscaped Entrypoint Env ExposedPorts Healthcheck Labels OnBuild Shell StopSignal User "
                  "Volumes WorkingDir",
        "RootFS": "Type Layers", "GraphDriver": "Name Data", "Metadata": "LastTagTime",
    },
    "/images/json": {"[]": _IMAGE},
    "/images/busybox/history": {"[]": "Comment Created CreatedBy Id Size Tags"},
    "/networks/fields": {
        "": f"{_NETWORK} Containers Status | Peers Services",
        "IPAM": "Driver Options Config", "IPAM.Config.[]": "Subnet Gateway | IPRange AuxiliaryAddresses",
        "Status": "IPAM", "Status.IPAM": "Subnets", "Status.IPAM.Subnets.10.98.8.0/24": "IPsInUse DynamicIPsAvailable",
        "ConfigFrom": "Network", "Containers.{id}": "EndpointID IPv4Address IPv6Address MacAddress Name",
    },
    "/networks": {"[]": f"{_NETWORK} | Peers + Containers"},
    "/volumes/fields": {"": _VOLUME},
    "/volumes": {"": "Volumes Warnings", "Volumes.[]": _VOLUME},
    "/info": {
        "": "Architecture CDISpecDirs CPUSet CPUShares CgroupDriver CgroupVersion ContainerdCommit Containers "
            "ContainersPaused ContainersRunning ContainersStopped CpuCfsPeriod CpuCfsQuota Debug DefaultRuntime "
            "DockerRootDir Driver DriverStatus ExperimentalBuild FirewallBackend GenericResources HttpProxy HttpsProxy "
            "ID IPv4Forwarding Images IndexServerAddress InitBinary InitCommit Isolation KernelVersion Labels "
            "LiveRestoreEnabled LoggingDriver MemTotal MemoryLimit NCPU NEventsListener NFd NGoroutines Name NoProxy "
            "OSType OSVersion OomKillDisable OperatingSystem PidsLimit Plugins RegistryConfig RuncCommit Runtimes "
            "SecurityOptions ServerVersion SwapLimit Swarm SystemTime Warnings | Containerd DefaultAddressPools "
            "DiscoveredDevices NRI ProductLicense + CpuRtPeriod CpuRtRuntime",
        "Plugins": "Authorization Log Network Volume", "FirewallBackend": "Driver | Info", "ContainerdCommit": "ID",
        "RegistryConfig": "IndexConfigs InsecureRegistryCIDRs Mirrors",
        "Swarm": "ControlAvailable Error LocalNodeState NodeAddr NodeID RemoteManagers | Cluster Managers Nodes",
    },
    "/version": {
        "": "ApiVersion Arch BuildTime Components GitCommit GoVersion KernelVersion MinAPIVersion Os Platform Version "
            "| Experimental",
        "Platform": "Name", "Components.[]": "Name Version Details",
    },
    "/system/df?verbose=1": {
        "": "ImageUsage ContainerUsage VolumeUsage BuildCacheUsage", "ImageUsage": _SUM, "ContainerUsage": _SUM,
        "VolumeUsage": _SUM, "BuildCacheUsage": _SUM, "ImageUsage.Items.[]": _IMAGE,
        "ContainerUsage.Items.[]": _CONTAINER, "VolumeUsage.Items.[]": _VOLUME,
        "VolumeUsage.Items.[].UsageData": "Size RefCount",
    },
    "/containers/api/stats?stream=0&one-shot=1": {
        "": "blkio_stats cpu_stats id memory_stats name networks num_procs os_type pids_stats precpu_stats preread "
            "read storage_stats",
        "memory_stats": "limit stats usage | commitbytes commitpeakbytes failcnt max_usage privateworkingset",
        "cpu_stats": _CPU, "cpu_stats.cpu_usage": _CPU_USAGE, "precpu_stats": _CPU,
        "precpu_stats.cpu_usage": _CPU_USAGE,
        "blkio_stats": "io_merged_recursive io_queue_recursive io_service_bytes_recursive io_service_time_recursive "
                       "io_serviced_recursive io_time_recursive io_wait_time_recursive sectors_recursive",
        "networks.eth0": "rx_bytes rx_dropped rx_errors rx_packets tx_bytes tx_dropped tx_errors tx_packets "
                         "| endpoint_id instance_id",
    },
    "/events?since=1&until={now}": {"": "Action Actor Type scope time timeNano", "Actor": "Attributes ID"},
    "/exec/{exec}/json": {
        "": "CanRemove ContainerID DetachKeys ExitCode ID OpenStderr OpenStdin OpenStdout Pid ProcessConfig Running",
        "ProcessConfig": "arguments entrypoint privileged tty | user",
    },
}


@pytest.fixture(scope="module")
def words(engine) -> Iterator[dict[str, str]]:
    """A container with most of what there is."""
    wire = Wire(engine.instance.api_socket)
    wire.post("/networks/create", {"Name": "fields", "IPAM": {"Config": [{"Subnet": "10.98.8.0/24"}]}})
    id_ = wire.create("api", Cmd=["sleep", "1000"], Healthcheck={"Test": ["CMD", "true"]}, HostConfig={
        "NetworkMode": "fields", "Binds": ["fields:/data"], "PortBindings": {"80/tcp": [{"HostPort": "0"}]}})
    wire.post(f"/containers/{id_}/start")
    made = wire.post(f"/containers/{id_}/exec", {"Cmd": ["true"]}).json["Id"]
    yield {"id": id_, "exec": made, "now": str(int(time.time()) + 1)}
    wire.call("DELETE", f"/containers/{id_}?force=1")
    wire.call("DELETE", "/volumes/fields")
    wire.call("DELETE", "/networks/fields")


@pytest.fixture(autouse=True)
def no_containers_left():
    """In place of the directory's own, which would take the module's container away."""


@pytest.mark.parametrize("path", FIELDS)
def test_an_answer_has_the_schemas_fields_and_no_others(engine, words, path):
    answer = Wire(engine.instance.api_socket).call("GET", f"/v{NEWEST}{_filled(path, words)}")
    assert answer.status == 200, answer
    wrong = []
    for place, names in FIELDS[path].items():
        always, sometimes, more = _read(names)
        found = set(_at(answer.objects[0], _filled(place, words)))
        wrong += [f"{place}: lacks {name}" for name in sorted(always - found)]
        wrong += [f"{place}: has {name}" for name in sorted(found - always - sometimes - more)]
    assert not wrong, "\n".join(wrong)


def _read(names: str) -> tuple[set[str], set[str], set[str]]:
    """(always there, sometimes, not the schema's)."""
    of_schema, _, more = names.partition("+")
    always, _, sometimes = of_schema.partition("|")
    return set(always.split()), set(sometimes.split()), set(more.split())


def _at(value: Any, place: str) -> Any:
    """The object at ``place``: keys with "." between, whose own dots count where such a key is there."""
    rest = place
    while rest:
        if isinstance(value, list):
            rest = rest.removeprefix("[]").removeprefix(".")
            value = value[0]
            continue
        key = max((key for key in value if rest == key or rest.startswith(f"{key}.")), key=len)
        value, rest = value[key], rest[len(key) + 1:]
    return value


def _filled(text: str, words: dict[str, str]) -> str:
    for name, value in words.items():
        text = text.replace(f"{{{name}}}", value)
    return text
