"""From the flags of ``run`` and ``create`` to the body of POST /containers/create.

What was not asked for is the engine's default to choose and is not sent, but for a few values that docker always sends
and that an engine gives back in ``inspect`` as they came.
"""

from __future__ import annotations

from pier_cli.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier_cli.flags import Options

# flag: (key of HostConfig, how it is read)
LIMITS = {
    "blkio-weight": ("BlkioWeight", "number"), "cpuset-cpus": ("CpusetCpus", "text"),
    "cpuset-mems": ("CpusetMems", "text"), "memory": ("Memory", "number"), "memory-swap": ("MemorySwap", "number"),
    "memory-reservation": ("MemoryReservation", "number"), "cpus": ("NanoCpus", "number"),
    "cpu-shares": ("CpuShares", "number"), "cpu-period": ("CpuPeriod", "number"), "cpu-quota": ("CpuQuota", "number"),
    "pids-limit": ("PidsLimit", "number"),
}
_HOST_SETTINGS = {
    "ipc": ("IpcMode", "text"), "pid": ("PidMode", "text"), "uts": ("UTSMode", "text"),
    "cgroupns": ("CgroupnsMode", "text"), "userns": ("UsernsMode", "text"), "runtime": ("Runtime", "text"),
    "volume-driver": ("VolumeDriver", "text"),
    "cgroup-parent": ("CgroupParent", "text"), "cpu-rt-period": ("CpuRealtimePeriod", "number"),
    "cpu-rt-runtime": ("CpuRealtimeRuntime", "number"),
    **LIMITS, "shm-size": ("ShmSize", "number"),
    "oom-score-adj": ("OomScoreAdj", "number"),
    "rm": ("AutoRemove", "flag"), "privileged": ("Privileged", "flag"), "read-only": ("ReadonlyRootfs", "flag"),
    "publish-all": ("PublishAllPorts", "flag"), "init": ("Init", "flag"),
    "oom-kill-disable": ("OomKillDisable", "flag"),
    "dns": ("Dns", "items"),
    "dns-option": ("DnsOptions", "items"), "dns-search": ("DnsSearch", "items"), "add-host": ("ExtraHosts", "items"),
    "group-add": ("GroupAdd", "items"), "volumes-from": ("VolumesFrom", "items"), "link": ("Links", "items"),
    "ulimit": ("Ulimits", "items"), "mount": ("Mounts", "items"),
    "blkio-weight-device": ("BlkioWeightDevice", "items"), "device-read-bps": ("BlkioDeviceReadBps", "items"),
    "device-write-bps": ("BlkioDeviceWriteBps", "items"), "device-read-iops": ("BlkioDeviceReadIOps", "items"),
    "device-write-iops": ("BlkioDeviceWriteIOps", "items"), "device-cgroup-rule": ("DeviceCgroupRules", "items"),
    "memory-swappiness": ("MemorySwappiness", "number"),
}
_CONFIG_SETTINGS = {
    "hostname": ("Hostname", "text"), "domainname": ("Domainname", "text"), "user": ("User", "text"),
    "workdir": ("WorkingDir", "text"), "stop-signal": ("StopSignal", "text"), "stop-timeout": ("StopTimeout", "number"),
    "mac-address": ("MacAddress", "text"),
}

_EMPTY_LISTS = (
    "Dns", "DnsOptions", "DnsSearch", "BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps", "Devices", "Ulimits",
)
_PREDEFINED = ("default", "bridge", "host", "none")


def build(options: Options, image: str, command: list[str]) -> dict[str, Any]:
    """The body: Config's fields, HostConfig and NetworkingConfig. Failure with docker's words."""
    _check_modes(options)
    config: dict[str, Any] = {"Image": image}
    host: dict[str, Any] = {"PortBindings": {}, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}}
    host.update((key, []) for key in _EMPTY_LISTS)
    _copy(options, _CONFIG_SETTINGS, config)
    _copy(options, _HOST_SETTINGS, host)
    _streams(options, config)
    _process(options, config, command)
    _ports(options, config, host)
    _storage(options, config, host)
    _capabilities(options, host)
    _security(options, host)
    _logging(options, host)
    _restart(options, host)
    health = _health(options)
    if health:
        config["Healthcheck"] = health
    if options.items("sysctl"):
        host["Sysctls"] = dict(options.items("sysctl"))
    if options.items("annotation"):
        host["Annotations"] = dict(options.items("annotation"))
    _devices(options, host)
    networking = _networks(options, host)
    body = {**config, "HostConfig": host}
    if networking:
        body["NetworkingConfig"] = {"EndpointsConfig": networking}
    return body


def _copy(options: Options, settings: dict[str, tuple[str, str]], into: dict[str, Any]) -> None:
    for name, (key, kind) in settings.items():
        if options.given(name):
            into[key] = getattr(options, kind)(name)


def _capabilities(options: Options, host: dict[str, Any]) -> None:
    """By the kernel's names and sorted, "ALL" in place of all others; what is added is not dropped."""
    given = {}
    for flag in ("cap-add", "cap-drop"):
        names = {text.strip().upper() for text in options.items(flag)}
        given[flag] = {"ALL"} if "ALL" in names else {f"CAP_{name.removeprefix('CAP_')}" for name in names}
    for key, names in (("CapAdd", given["cap-add"]), ("CapDrop", given["cap-drop"] - given["cap-add"])):
        if names:
            host[key] = sorted(names)


def _check_modes(options: Options) -> None:
    for name, words in (("pid", "PID"), ("uts", "UTS"), ("userns", "USER"), ("cgroupns", "CGROUP")):
        value = options.text(name)
        allowed = ("", "host", "private") if name == "cgroupns" else ("", "host")
        if value not in allowed and not (name == "pid" and value.startswith("container:") and len(value) > 10):
            raise Failure(f"--{name}: invalid {words} mode")


def _streams(options: Options, config: dict[str, Any]) -> None:
    """Which streams are attached: those of -a, else output and, with -i, input."""
    given = options.items("attach")
    interactive = options.flag("interactive")
    config["AttachStdin"] = "stdin" in given if given else interactive
    config["AttachStdout"] = "stdout" in given if given else True
    config["AttachStderr"] = "stderr" in given if given else True
    config["Tty"] = options.flag("tty")
    config["OpenStdin"] = interactive
    config["StdinOnce"] = interactive and config["AttachStdin"]


def _process(options: Options, config: dict[str, Any], command: list[str]) -> None:
    from pier_cli.context import environment

    if command:
        config["Cmd"] = command
    if options.given("entrypoint"):
        config["Entrypoint"] = [options.text("entrypoint")]
    variables: list[str] = []
    labels: list[str] = []
    if options.items("env-file") or options.items("label-file"):
        from pier_cli.specs.files import key_values

        for path in options.items("env-file"):
            variables += key_values(path, environment=True)
        for path in options.items("label-file"):
            labels += key_values(path, environment=False)
    for text in options.items("env"):
        if "=" in text:
            variables.append(text)
        elif value := environment(text):
            variables.append(f"{text}={value}")
    if variables:
        config["Env"] = variables
    labels += options.items("label")
    if labels:
        config["Labels"] = {key: value for key, _, value in (text.partition("=") for text in labels)}


def _ports(options: Options, config: dict[str, Any], host: dict[str, Any]) -> None:
    if not options.items("publish") and not options.items("expose"):
        return
    from pier_cli.specs.ports import parse_expose, parse_publish

    exposed, bindings = parse_publish(options.items("publish"))
    exposed.update(parse_expose(options.items("expose")))
    config["ExposedPorts"] = exposed
    if bindings:
        host["PortBindings"] = bindings


def _storage(options: Options, config: dict[str, Any], host: dict[str, Any]) -> None:
    if not options.items("volume") and not options.items("tmpfs"):
        return
    from pier_cli.specs.mounts import parse_tmpfs, parse_volumes

    binds, volumes = parse_volumes(options.items("volume"))
    if binds:
        host["Binds"] = binds
    if volumes:
        config["Volumes"] = volumes
    if options.items("tmpfs"):
        host["Tmpfs"] = parse_tmpfs(options.items("tmpfs"))


def _security(options: Options, host: dict[str, Any]) -> None:
    kept = []
    for text in options.items("security-opt"):
        name, equals, value = text.partition("=")
        if not equals and name != "no-new-privileges":
            name, colon, value = text.partition(":")
            if not colon:
                raise Failure(f'Invalid --security-opt: "{text}"')
        if (name, value) == ("systempaths", "unconfined"):
            host["MaskedPaths"], host["ReadonlyPaths"] = [], []
            continue
        if name == "seccomp" and value not in ("unconfined", "builtin"):
            kept.append(f"seccomp={_seccomp(value)}")
            continue
        kept.append(text)
    if kept:
        host["SecurityOpt"] = kept


def _seccomp(path: str) -> str:
    """The profile's content: the file is this side's, the engine may be another machine."""
    from pier_cli.codec import dumps, loads
    from pier_cli.specs.files import read_file

    raw = read_file(path, f"opening seccomp profile ({path}) failed: ")
    try:
        return dumps(loads(raw))
    except ValueError as error:
        raise Failure(f"compacting json for seccomp profile ({path}) failed: {error}") from None


def _logging(options: Options, host: dict[str, Any]) -> None:
    if not options.given("log-driver") and not options.items("log-opt"):
        return
    settings = {}
    for text in options.items("log-opt"):
        key, _, value = text.partition("=")
        settings[key] = value
    driver = options.text("log-driver")
    if driver == "none" and settings:
        raise Failure(f"invalid logging opts for driver {driver}")
    host["LogConfig"] = {"Type": driver, "Config": settings}


def _restart(options: Options, host: dict[str, Any]) -> None:
    if not options.given("restart"):
        return
    host["RestartPolicy"] = policy = restart_policy(options.text("restart"))
    if options.flag("rm") and policy["Name"] not in ("", "no"):
        raise Failure("conflicting options: cannot specify both --restart and --rm")


def restart_policy(text: str) -> dict[str, Any]:
    """``no``, ``always``, ``unless-stopped``, ``on-failure[:COUNT]`` as the API has it."""
    name, colon, count = text.partition(":")
    retries = 0
    if not name and colon:
        raise Failure("invalid restart policy format: no policy provided before colon")
    if colon:
        if not (count.isascii() and count.lstrip("-").isdigit()):
            raise Failure("invalid restart policy format: maximum retry count must be an integer")
        retries = int(count)
    return {"Name": name, "MaximumRetryCount": retries}


def _health(options: Options) -> dict[str, Any]:
    names = {
        "health-interval": "Interval", "health-timeout": "Timeout", "health-start-period": "StartPeriod",
        "health-start-interval": "StartInterval", "health-retries": "Retries",
    }
    given = {key: options.number(name) for name, key in names.items() if options.given(name)}
    if options.flag("no-healthcheck"):
        if given or options.text("health-cmd"):
            raise Failure("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    for name, key in names.items():
        if given.get(key, 0) < 0:
            raise Failure(f"--{name} cannot be negative")
    check: dict[str, Any] = dict(given)
    if options.text("health-cmd"):
        check["Test"] = ["CMD-SHELL", options.text("health-cmd")]
    return check


def _devices(options: Options, host: dict[str, Any]) -> None:
    if not any(map(options.given, ("device", "gpus"))):
        return
    from pier_cli.specs.devices import device, gpus, is_qualified

    given = options.items("device")
    qualified = [text for text in given if is_qualified(text)]
    host["Devices"] = [device(text) for text in given if text not in qualified]
    requests = [gpus(options.text("gpus"))] if options.given("gpus") else []
    if qualified:
        requests.append({"Driver": "cdi", "DeviceIDs": qualified})
    if requests:
        host["DeviceRequests"] = requests


def _networks(options: Options, host: dict[str, Any]) -> dict[str, Any]:
    """Endpoint settings by network; the first --network is the container's NetworkMode."""
    given = options.items("network")
    if any(not network["name"] for network in given):
        raise Failure("no name set for network")
    mode = host["NetworkMode"] = given[0]["name"] if given else "default"
    if options.items("network-alias") and (mode in _PREDEFINED or mode.startswith("container:")):
        raise Failure("network-scoped aliases are only supported for user-defined networks")
    own: dict[str, Any] = dict(given[0]) if given else {"name": "default"}
    if options.items("network-alias"):
        own["alias"] = [*own.get("alias", []), *options.items("network-alias")]
    if options.items("link") and mode not in _PREDEFINED and not mode.startswith("container:"):
        own["link"] = host.pop("Links")  # on a network with names a link is the endpoint's
    for name in ("ip", "ip6", "mac-address"):
        if options.text(name):
            if own.get(name):
                raise Failure(f"conflicting options: cannot specify both --{name} and per-network {name}")
            own[name] = options.text(name)
    endpoints = {}
    for network in (own, *given[1:]):
        if network["name"] in endpoints:
            raise Failure(f'network "{network["name"]}" is specified multiple times')
        endpoints[network["name"]] = endpoint(network)
    # One network without settings needs no entry: NetworkMode names it.
    return endpoints if len(endpoints) > 1 or any(endpoints.values()) else {}


def endpoint(network: dict[str, Any]) -> dict[str, Any]:
    """EndpointSettings of a parsed --network value."""
    settings: dict[str, Any] = {}
    addresses = {"ip": "IPv4Address", "ip6": "IPv6Address", "link-local-ip": "LinkLocalIPs"}
    ipam = {key: network[name] for name, key in addresses.items() if network.get(name)}
    if ipam:
        settings["IPAMConfig"] = ipam
    plain = {"alias": "Aliases", "mac-address": "MacAddress", "driver-opt": "DriverOpts", "gw-priority": "GwPriority",
             "link": "Links"}
    settings.update({key: network[name] for name, key in plain.items() if network.get(name)})
    return settings
