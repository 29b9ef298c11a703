"""For each operation with a body: where it is sent, and a body that is right and holds most of what there is."""

from __future__ import annotations

from typing import Any, Final

_HOST_CONFIG: Final = {
    "Binds": ["vol:/vol"], "Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 4096}}],
    "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": ""}]}, "NetworkMode": "bridge",
    "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "Memory": 64 << 20, "NanoCpus": 10**9,
    "CapAdd": ["NET_ADMIN"], "Dns": ["127.0.0.1"], "ExtraHosts": ["a:127.0.0.1"],
    "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}], "LogConfig": {"Type": "json-file", "Config": {}},
    "Devices": [], "Sysctls": {}, "Tmpfs": {"/u": "size=1m"}, "ShmSize": 1 << 20, "PidsLimit": 5,
    "SecurityOpt": ["no-new-privileges"], "GroupAdd": ["1"], "IpcMode": "private", "ConsoleSize": [1, 2],
    "DeviceRequests": [], "BlkioWeightDevice": [], "OomScoreAdj": 1, "Links": [], "Init": False,
}
_ENDPOINT: Final = {"IPAMConfig": {}, "MacAddress": "", "GwPriority": 0}

BODIES: Final[dict[str, tuple[str, Any]]] = {
    "ContainerCreate": ("/containers/create", {
        "Image": "busybox", "Cmd": ["true"], "Entrypoint": ["sh"], "Env": ["A=1"], "Labels": {"a": "b"}, "User": "0",
        "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": {}}, "Healthcheck": {"Test": ["CMD", "true"]},
        "StopSignal": "TERM", "StopTimeout": 5, "WorkingDir": "/", "Hostname": "box", "Tty": False,
        "HostConfig": _HOST_CONFIG, "NetworkingConfig": {"EndpointsConfig": {"bridge": _ENDPOINT}},
    }),
    "ContainerExec": ("/containers/{running}/exec", {
        "Cmd": ["true"], "Env": ["A=1"], "User": "0", "WorkingDir": "/", "Tty": False, "AttachStdin": False,
        "AttachStdout": True, "Privileged": False, "DetachKeys": "ctrl-a", "ConsoleSize": [1, 2],
    }),
    "ContainerUpdate": ("/containers/{running}/update", {
        "CpuShares": 2, "Memory": 64 << 20, "RestartPolicy": {"Name": "no"}, "PidsLimit": 30,
    }),
    "NetworkCreate": ("/networks/create", {
        "Name": "mut", "Driver": "bridge", "Internal": True, "EnableIPv6": False, "IPAM": {
            "Driver": "default", "Options": {},
            "Config": [{"Subnet": "10.77.0.0/24", "Gateway": "10.77.0.1", "IPRange": "10.77.0.0/25"}],
        }, "Options": {"com.docker.network.driver.mtu": "1400"}, "Labels": {"a": "b"},
    }),
    "NetworkConnect": ("/networks/bridge/connect", {
        "Container": "nosuch", "EndpointConfig": {"Aliases": ["a"], "IPAMConfig": {"IPv4Address": "10.0.0.9"}},
    }),
    "NetworkDisconnect": ("/networks/bridge/disconnect", {"Container": "nosuch", "Force": True}),
    "VolumeCreate": ("/volumes/create", {"Name": "mut", "Driver": "local", "DriverOpts": {}, "Labels": {"a": "b"}}),
    "SystemAuth": ("/auth", {"username": "u", "password": "p", "serveraddress": "127.0.0.1:1"}),
    "ExecStart": ("/exec/{exec}/start", {"Detach": True, "Tty": False, "ConsoleSize": [1, 2]}),
    "ImageCommit": ("/commit?container={created}", {
        "Cmd": ["true"], "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}},
    }),
}
