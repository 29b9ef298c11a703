"""The Go types behind the engine's documents, as far as templates show them: nulls, and fields left out when empty."""

from __future__ import annotations

from pier_cli.gotemplate import Schema

_LISTS = frozenset((
    "Aliases", "Args", "BlkioDeviceReadBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteBps", "BlkioDeviceWriteIOps",
    "BlkioWeightDevice", "Binds", "CapAdd", "CapDrop", "Cmd", "Config", "DNSNames", "DeviceCgroupRules",
    "DeviceRequests",
    "Devices", "Dns", "DnsOptions", "DnsSearch", "Entrypoint", "Env", "ExecIDs", "ExtraHosts", "GroupAdd", "Layers",
    "LinkLocalIPs", "Links", "Log", "MaskedPaths", "Mounts", "OnBuild", "ReadonlyPaths", "RepoDigests", "RepoTags",
    "SecondaryIPAddresses", "SecondaryIPv6Addresses", "SecurityOpt", "Shell", "Test", "Ulimits", "VolumesFrom",
))
_MAPS = frozenset((
    "Annotations", "AuxiliaryAddresses", "Containers", "Data", "DriverOpts", "ExposedPorts", "Labels", "Networks",
    "Options",
    "PortBindings", "Ports", "Services", "StorageOpt", "Sysctls", "Tmpfs", "Volumes",
))
# None: the null of the name's type.
_OMITTED: dict[str, object] = {
    "Annotations": None, "ArgsEscaped": False, "AuxiliaryAddresses": None, "ClusterVolume": None, "ExposedPorts": None,
    "Health": None, "Healthcheck": None, "ImageManifestDescriptor": None, "Init": None, "MacAddress": "",
    "Mounts": None,
    "NetworkDisabled": False, "Peers": None, "Services": None, "Shell": None, "SizeRootFs": None, "SizeRw": None,
    "StopSignal": "", "StopTimeout": None, "StorageOpt": None, "Sysctls": None, "Tmpfs": None, "UsageData": None,
    "Variant": "", "Error": "", "Interval": 0, "Timeout": 0, "StartPeriod": 0, "StartInterval": 0, "Retries": 0,
    "Test": None,
}
# "Config" is a list under IPAM and never null elsewhere.
DOCUMENTS = Schema(_LISTS, _MAPS, _OMITTED)
