"""Names of the published schema (Docker Engine API 1.56), by object: what the table of settings is held against.

MacAddress of the configuration is not in it any more; clients of the API before 1.44 ask by it.
"""


def _names(text):
    return frozenset(text.split())


CONFIG = _names(
    "ArgsEscaped AttachStderr AttachStdin AttachStdout Cmd Domainname Entrypoint Env ExposedPorts Healthcheck Hostname "
    "Image Labels MacAddress NetworkDisabled OnBuild OpenStdin Shell StdinOnce StopSignal StopTimeout Tty User Volumes "
    "WorkingDir"
)
HOST_CONFIG = _names(
    "Annotations AutoRemove Binds "
    "BlkioDeviceReadBps BlkioDeviceReadIOps BlkioDeviceWriteBps BlkioDeviceWriteIOps "
    "BlkioWeight BlkioWeightDevice CapAdd CapDrop Cgroup CgroupParent CgroupnsMode ConsoleSize ContainerIDFile "
    "CpuCount CpuPercent CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime CpuShares CpusetCpus CpusetMems "
    "DeviceCgroupRules DeviceRequests Devices Dns DnsOptions DnsSearch ExtraHosts GroupAdd IOMaximumBandwidth "
    "IOMaximumIOps Init IpcMode Isolation Links LogConfig MaskedPaths Memory MemoryReservation MemorySwap "
    "MemorySwappiness Mounts NanoCpus NetworkMode OomKillDisable OomScoreAdj PidMode PidsLimit PortBindings Privileged "
    "PublishAllPorts ReadonlyPaths ReadonlyRootfs RestartPolicy Runtime SecurityOpt ShmSize StorageOpt Sysctls Tmpfs "
    "UTSMode Ulimits UsernsMode VolumeDriver VolumesFrom"
)
BUILD = _names(
    "dockerfile t extrahosts remote q nocache cachefrom pull rm forcerm memory memswap cpushares cpusetcpus cpuperiod "
    "cpuquota buildargs shmsize squash labels networkmode platform target outputs version"
)
"""Parameters of `POST /build`."""
ENDPOINT = _names(
    "Aliases DNSNames DriverOpts EndpointID Gateway GlobalIPv6Address GlobalIPv6PrefixLen GwPriority IPAMConfig "
    "IPAddress IPPrefixLen IPv6Gateway Links MacAddress NetworkID"
)
NESTED = _names(
    "Healthcheck.Interval Healthcheck.Retries Healthcheck.StartInterval Healthcheck.StartPeriod Healthcheck.Test "
    "Healthcheck.Timeout"
) | frozenset(f"HostConfig.{name}" for name in _names(
    "BlkioDeviceReadBps[].Path BlkioDeviceReadBps[].Rate BlkioDeviceReadIOps[].Path BlkioDeviceReadIOps[].Rate "
    "BlkioDeviceWriteBps[].Path BlkioDeviceWriteBps[].Rate BlkioDeviceWriteIOps[].Path BlkioDeviceWriteIOps[].Rate "
    "BlkioWeightDevice[].Path BlkioWeightDevice[].Weight "
    "DeviceRequests[].Capabilities DeviceRequests[].Count DeviceRequests[].DeviceIDs DeviceRequests[].Driver "
    "DeviceRequests[].Options Devices[].CgroupPermissions Devices[].PathInContainer Devices[].PathOnHost "
    "LogConfig.Config LogConfig.Type "
    "Mounts[].BindOptions.CreateMountpoint Mounts[].BindOptions.NonRecursive Mounts[].BindOptions.Propagation "
    "Mounts[].BindOptions.ReadOnlyForceRecursive Mounts[].BindOptions.ReadOnlyNonRecursive Mounts[].Consistency "
    "Mounts[].ImageOptions.Subpath Mounts[].ReadOnly Mounts[].Source Mounts[].Target "
    "Mounts[].TmpfsOptions.Mode Mounts[].TmpfsOptions.Options Mounts[].TmpfsOptions.SizeBytes Mounts[].Type "
    "Mounts[].VolumeOptions.DriverConfig.Name Mounts[].VolumeOptions.DriverConfig.Options "
    "Mounts[].VolumeOptions.Labels Mounts[].VolumeOptions.NoCopy Mounts[].VolumeOptions.Subpath "
    "PortBindings{}[].HostIp PortBindings{}[].HostPort RestartPolicy.MaximumRetryCount RestartPolicy.Name "
    "Ulimits[].Hard Ulimits[].Name Ulimits[].Soft"
))
"""What the fields of both that are objects, or lists or maps of them, consist of; as of Docker Engine API 1.56."""
