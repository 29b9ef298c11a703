"""GET /containers/{name}/json."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from chassis.errors import PierError
from coordinator import image_config
from gateway import listing
from gateway.rest import container_sizes, host_config, wire
from gateway.rest import container_view as view
from gateway.rest.body import Fields
from gateway.rest.call import Call
from gateway.rest.containers import kept_failure
from gateway.rest.decoders import HEALTH_TIMES
from gateway.rest.find import read_container
from gateway.rest.routes import Routes
from gateway.rest.versions import Version
from pier.exec.v1 import exec_pb2
from pier.network.v1 import network_pb2

_NO_TOP_LEVEL_SINCE: Final = Version(1, 52)
_DIRECTORIES: Final = {"upperdir": "UpperDir", "workdir": "WorkDir"}

routes = Routes()


@routes.get("/containers/{name}/json")
async def inspect(call: Call) -> web.StreamResponse:
    """Everything about one container."""
    container = await read_container(call, call.path["name"])
    sandbox = await view.sandbox(call, container.id)
    fields = view.asked(container)
    arguments = [wire.text(part) for part in container.spec.process.args]
    sizes = await container_sizes.of(call.engine, [container]) if call.query.boolean("size") else {}
    return call.json({
        "Id": container.id, "Created": wire.rfc3339(container.created_at), "Path": arguments[0] if arguments else "",
        "Args": arguments[1:], "State": _state(container), "Image": container.spec.image_id,
        "ResolvConfPath": wire.text(container.resolv_conf_path), "HostnamePath": wire.text(container.hostname_path),
        "HostsPath": wire.text(container.hosts_path), "LogPath": wire.text(container.log_path),
        "Name": f"/{container.name}", "RestartCount": container.status.restart_count, "Driver": "overlay2",
        "Platform": "linux", "MountLabel": "", "ProcessLabel": "", "AppArmorProfile": "",
        "ExecIDs": list(container.exec_ids) or None, "HostConfig": host_config.of(container, fields, call.version),
        "GraphDriver": _graph_driver(container), "Mounts": view.mount_points(container),
        "Config": _of_version(await config_of(call, container), call.version),
        "NetworkSettings": await _network_settings(call, container, sandbox), **sizes.get(container.id, {}),
    })


async def config_of(call: Call, container: exec_pb2.Container) -> dict[str, Any]:
    """`Config`: what the container was made with, the image's defaults included."""
    fields = view.asked(container)
    arguments = [wire.text(part) for part in container.spec.process.args]
    entrypoint, command = await _split(call, container, fields, arguments)
    return _config(container, fields) | {"Entrypoint": entrypoint or None, "Cmd": command or None}


def _of_version(config: dict[str, Any], version: Version) -> dict[str, Any]:
    """Without what API ``version`` has no more."""
    if version < _NO_TOP_LEVEL_SINCE:
        return config
    return {key: value for key, value in config.items() if key != "MacAddress" and (value or key != "OnBuild")}


def _state(container: exec_pb2.Container) -> dict[str, Any]:
    word, status = view.state(container), container.status
    more: dict[str, Any] = {"Health": _health(container)} if status.HasField("health") else {}
    if status.log_bytes_lost:  # Docker has no word for it: it loses output silently
        more["LogBytesLost"] = status.log_bytes_lost
    if status.log_error:
        more["LogError"] = status.log_error
    return more | {
        "Status": word, "Running": word in ("running", "paused", "restarting"), "Paused": word == "paused",
        "Restarting": word == "restarting", "OOMKilled": status.HasField("exit") and status.exit.oom_killed
        and word not in ("running", "paused"),
        "Dead": word == "dead", "Pid": status.pid, "ExitCode": 0 if word in ("running", "paused")
        else view.exit_code(container),
        "Error": _error(container), "StartedAt": wire.rfc3339(status.started_at),
        "FinishedAt": wire.rfc3339(status.finished_at),
    }


def _health(container: exec_pb2.Container) -> dict[str, Any]:
    """What nobody looks at any more is unhealthy, as Docker has it."""
    health, watched = container.status.health, view.state(container) == "running"
    return {
        "Status": health.status if watched else "unhealthy", "FailingStreak": health.failing_streak,
        "Log": [
            {"Start": wire.rfc3339(probe.started_at), "End": wire.rfc3339(probe.ended_at),
             "ExitCode": probe.exit_code, "Output": wire.text(probe.output)} for probe in health.probes
        ],
    }


def _error(container: exec_pb2.Container) -> str:
    status = container.status
    if view.state(container) == "exited" and status.HasField("exit") and not status.exit.HasField("code"):
        return status.error or "the exit status is unknown: nobody could see how the process ended"
    return kept_failure(container)


def _graph_driver(container: exec_pb2.Container) -> dict[str, Any]:
    """The overlay's directories, as Docker names them."""
    data: dict[str, str] = {}
    for mount in container.rootfs:
        if mount.type != "overlay":
            continue
        lower = [wire.text(option.value) for option in mount.options if option.key.startswith("lowerdir")]
        data["LowerDir"] = ":".join(lower)
        for option in mount.options:
            if option.key in _DIRECTORIES:
                data[_DIRECTORIES[option.key]] = wire.text(option.value)
    return {"Name": "overlay2", "Data": data or None}


async def _split(
    call: Call, container: exec_pb2.Container, fields: Fields, arguments: list[str]
) -> tuple[list[str], list[str]]:
    """(entrypoint, command) in what runs: the record keeps both together, the request or the image tells them apart."""
    entrypoint = fields.words("Entrypoint")
    if entrypoint:
        count = 0 if entrypoint == [""] else len(entrypoint)
    elif command := fields.words("Cmd"):
        count = len(arguments) - len(command)
    else:
        try:
            image = await listing.image(call.engine, container.spec.image_id)
            count = len(image_config.parse(image.config).entrypoint or [])
        except PierError:
            count = 0  # the image is gone
    return arguments[:count], arguments[count:]


def _config(container: exec_pb2.Container, fields: Fields) -> dict[str, Any]:
    spec, process = container.spec, container.spec.process
    config: dict[str, Any] = {
        "Hostname": spec.hostname or container.id[:12], "Domainname": spec.domainname, "User": process.user,
        "AttachStdin": fields.boolean("AttachStdin"), "AttachStdout": fields.boolean("AttachStdout"),
        "AttachStderr": fields.boolean("AttachStderr"), "Tty": process.terminal, "OpenStdin": process.stdin_open,
        "StdinOnce": process.stdin_once, "Env": [wire.text(entry) for entry in process.env],
        "Image": spec.image, "Volumes": {wire.text(target): {} for target in _anonymous(container)} or None,
        "WorkingDir": wire.text(process.cwd), "OnBuild": fields.optional_strings("OnBuild"),
        "Labels": dict(spec.labels),
    }
    if ports := view.exposed_ports(container, published=False):
        config["ExposedPorts"] = {port: {} for port in ports}
    if mac := fields.text("MacAddress"):
        config["MacAddress"] = mac
    if spec.health_check.test:
        config["Healthcheck"] = {"Test": [wire.text(word) for word in spec.health_check.test]} | {
            name: nanoseconds for name, target in HEALTH_TIMES.items()
            if (nanoseconds := getattr(spec.health_check, target).ToNanoseconds())
        } | ({"Retries": spec.health_check.retries} if spec.health_check.retries else {})
    if shell := fields.optional_strings("Shell"):
        config["Shell"] = shell
    if spec.stop_signal:
        config["StopSignal"] = spec.stop_signal
    if spec.HasField("stop_timeout"):
        config["StopTimeout"] = spec.stop_timeout
    return config


def _anonymous(container: exec_pb2.Container) -> list[bytes]:
    """Where volumes of its own are mounted."""
    return sorted(volume.target for volume in view.plan(container).volumes if volume.anonymous)


async def _network_settings(
    call: Call, container: exec_pb2.Container, sandbox: network_pb2.Sandbox | None
) -> dict[str, Any]:
    networks = view.endpoint_settings(container, sandbox, await view.network_ids(call, [container]))
    ports: dict[str, Any] = {}
    if view.state(container) in ("running", "paused"):
        ports = dict.fromkeys(view.exposed_ports(container)) | view.port_map(view.published(sandbox))
    settings: dict[str, Any] = {
        "SandboxID": sandbox.id if sandbox else "", "SandboxKey": wire.text(sandbox.netns_path) if sandbox else "",
        "Ports": ports, "Networks": networks,
    }
    if call.version < _NO_TOP_LEVEL_SINCE:
        main = networks.get("bridge", {})
        settings |= {
            "Bridge": "", "HairpinMode": False, "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0,
            "SecondaryIPAddresses": None, "SecondaryIPv6Addresses": None,
        }
        for key, default in (
            ("EndpointID", ""), ("Gateway", ""), ("GlobalIPv6Address", ""), ("GlobalIPv6PrefixLen", 0),
            ("IPAddress", ""), ("IPPrefixLen", 0), ("IPv6Gateway", ""), ("MacAddress", ""),
        ):
            settings[key] = main.get(key, default)
    return settings
