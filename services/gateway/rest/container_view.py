"""What list and inspect share: a container's state and ports in Docker's words."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

from google.protobuf import wrappers_pb2

from chassis.errors import InvalidArgument, NotFound, PierError
from coordinator.listing import pages
from coordinator.names import names_of
from coordinator.plans import plan_of
from gateway import listing
from gateway.rest import wire
from gateway.rest.body import Fields, decode
from gateway.rest.call import Call
from gateway.rest.containers_create import REQUEST
from pier.engine.v1 import engine_pb2
from pier.exec.v1 import exec_pb2
from pier.network.v1 import network_pb2

STATES: Final = {
    exec_pb2.CONTAINER_STATE_CREATING: "created",
    exec_pb2.CONTAINER_STATE_CREATED: "created",
    exec_pb2.CONTAINER_STATE_RUNNING: "running",
    exec_pb2.CONTAINER_STATE_PAUSED: "paused",
    exec_pb2.CONTAINER_STATE_RESTARTING: "restarting",
    exec_pb2.CONTAINER_STATE_EXITED: "exited",
    exec_pb2.CONTAINER_STATE_REMOVING: "removing",
    exec_pb2.CONTAINER_STATE_DEAD: "dead",
}


def state(container: exec_pb2.Container) -> str:
    return STATES.get(container.status.state, "dead")


def health(container: exec_pb2.Container) -> str:
    """"starting", "healthy", "unhealthy", or "none" where there is no check."""
    return container.status.health.status or "none"


def exit_code(container: exec_pb2.Container) -> int:
    """255 where nobody could see it: never a false 0."""
    if not container.status.HasField("exit"):
        return 0
    return container.status.exit.code if container.status.exit.HasField("code") else 255


def status_text(container: exec_pb2.Container, now: float | None = None) -> str:
    """"Up 3 seconds", "Exited (0) 5 minutes ago": the command prints it as it is."""
    now = time.time() if now is None else now
    status = container.status
    word = state(container)
    if word in ("running", "paused"):
        text = f"Up {human(now - status.started_at.seconds)}"
        if word == "paused":
            return f"{text} (Paused)"
        verdict = health(container)
        return text if verdict == "none" else f"{text} ({'health: ' * (verdict == 'starting')}{verdict})"
    if word == "restarting":
        return f"Restarting ({exit_code(container)}) {human(now - status.finished_at.seconds)} ago"
    if word == "exited":
        return f"Exited ({exit_code(container)}) {human(now - status.finished_at.seconds)} ago"
    return {"created": "Created", "removing": "Removal In Progress", "dead": "Dead"}[word]


def human(seconds: float) -> str:
    """A duration as Docker's units print it."""
    whole = max(int(seconds), 0)
    minutes, hours = whole // 60, round(whole / 3600)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{hours // 24 // 365} years"


def plan(container: exec_pb2.Container) -> engine_pb2.ContainerPlan:
    """The container's network plan; an empty one for a container that another manager made."""
    try:
        return plan_of(container)
    except InvalidArgument:
        return engine_pb2.ContainerPlan(network_mode="none")


def asked(container: exec_pb2.Container) -> Fields:
    """The request that the container was created with, empty for one that another face made."""
    value = wrappers_pb2.BytesValue()
    if REQUEST not in container.extensions or not container.extensions[REQUEST].Unpack(value):
        return Fields({})
    return decode(value.value)


async def sandboxes(call: Call) -> dict[str, network_pb2.Sandbox]:
    """Sandboxes by container id, as netd has them or had them last; none where it never answered."""
    services = call.engine.services

    async def ask(deadline: float) -> dict[str, network_pb2.Sandbox]:
        asked = pages(partial(services.netd.call, services.networks.ListSandboxes, timeout=deadline),
                      network_pb2.ListSandboxesRequest, "sandboxes", manager=services.manager)
        return {sandbox.id: sandbox async for sandbox in asked}

    try:
        return await call.engine.projection.read("sandboxes", ask)
    except PierError:
        return {}


async def sandbox(call: Call, id_: str) -> network_pb2.Sandbox | None:
    """The sandbox of one container, None where it has none."""
    services = call.engine.services

    async def ask(deadline: float) -> network_pb2.Sandbox | None:
        try:
            found: network_pb2.GetSandboxResponse = await services.netd.call(
                services.networks.GetSandbox, network_pb2.GetSandboxRequest(id=id_), timeout=deadline
            )
        except NotFound:
            return None
        return found.sandbox

    try:
        return await call.engine.projection.read(f"sandbox:{id_}", ask)
    except PierError:
        return None


def published(container_sandbox: network_pb2.Sandbox | None) -> list[network_pb2.PublishedPort]:
    """The ports that lead into it now."""
    if container_sandbox is None:
        return []
    return [port for endpoint in container_sandbox.endpoints for port in endpoint.ports]


def port_map(ports: Iterable[network_pb2.PublishedPort], everywhere: str = "") -> dict[str, list[dict[str, str]]]:
    """`{"80/tcp": [{HostIp, HostPort}]}`, of ports as they were asked for or as they are published; HostIp is
    ``everywhere`` where none was asked for, HostPort "" where it is not chosen yet, "8000-8010" where it is one of
    several."""
    shown: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        number = f"{port.host_port}-{port.host_port_end}" if port.host_port_end else str(port.host_port or "")
        entry = {"HostIp": port.host_ip or everywhere, "HostPort": number}
        shown.setdefault(f"{port.container_port}/{port.protocol}", []).append(entry)
    return shown


def list_ports(exposed: Iterable[str], ports: Iterable[network_pb2.PublishedPort]) -> list[dict[str, Any]]:
    """`Ports` of a list's entry."""
    entries: list[dict[str, Any]] = []
    taken = set()
    for port in ports:
        taken.add(f"{port.container_port}/{port.protocol}")
        entry: dict[str, Any] = {"PrivatePort": port.container_port, "Type": port.protocol}
        if port.host_port:  # else it is reached at the container's own address
            entry |= {"IP": port.host_ip or "0.0.0.0", "PublicPort": port.host_port}
        if entry not in entries:
            entries.append(entry)
    for text in sorted(set(exposed) - taken):
        number, _, protocol = text.partition("/")
        entries.append({"PrivatePort": int(number), "Type": protocol})
    return entries


def exposed_ports(container: exec_pb2.Container, *, published: bool = True) -> list[str]:
    """"80/tcp" for each exposed port of the request, each that the image exposes, and each that is ``published``."""
    fields = asked(container)
    names = [*fields.object("ExposedPorts"), *(fields.object("HostConfig").object("PortBindings") if published else ())]
    ports = {name.lower() if "/" in name else f"{name}/tcp" for name in names}
    return sorted(ports | set(plan(container).exposed_ports))


async def network_ids(call: Call, containers: Iterable[exec_pb2.Container]) -> dict[str, str]:
    """Ids of networks by name, where one of ``containers`` has run and is joined to none now; none where netd does not
    answer."""
    if not any(has_left(container) for container in containers):
        return {}
    try:
        return {network.name: network.id for network in await listing.networks(call.engine)}
    except PierError:
        return {}


def has_left(container: exec_pb2.Container) -> bool:
    """Whether it has been on its networks, and is not any more."""
    return state(container) in ("exited", "dead") and container.status.HasField("started_at")


def endpoint_settings(
    container: exec_pb2.Container, container_sandbox: network_pb2.Sandbox | None, ids: Mapping[str, str] | None = None,
) -> dict[str, dict[str, Any]]:
    """`NetworkSettings.Networks`: as attached now, else as planned. Of what has ended the networks are told by ``ids``,
    which clients compare with those that they want it on."""
    made = plan(container)
    live = {endpoint.network_name: endpoint for endpoint in container_sandbox.endpoints} if container_sandbox else {}
    networks = {}
    for attachment in made.attachments:
        name = attachment.network
        networks[name] = _endpoint(name, container, attachment.spec, live.pop(name, None))
    for name, endpoint in live.items():
        networks[name] = _endpoint(name, container, endpoint.spec, endpoint)
    if made.network_mode in ("host", "none"):
        networks[made.network_mode] = _endpoint(made.network_mode, container, network_pb2.EndpointSpec(), None)
    if ids and has_left(container):
        for name, settings in networks.items():
            settings["NetworkID"] = settings["NetworkID"] or ids.get(name, "")
    return networks


_WITHOUT_NAMES: Final = ("bridge", "host", "none")


def _dns_names(container: exec_pb2.Container, spec: network_pb2.EndpointSpec) -> list[str]:
    name, *others = names_of(container)
    return list(dict.fromkeys([name, *spec.aliases, *others]))


def _endpoint(
    network: str, container: exec_pb2.Container, spec: network_pb2.EndpointSpec, endpoint: network_pb2.Endpoint | None
) -> dict[str, Any]:
    now = endpoint or network_pb2.Endpoint()
    address, _, prefix = now.ipv4.partition("/")
    address6, _, prefix6 = now.ipv6.partition("/")
    fixed = {key: value for key, value in (("IPv4Address", spec.ipv4), ("IPv6Address", spec.ipv6)) if value}
    links = [] if network in _WITHOUT_NAMES else list(spec.links)
    return {
        "IPAMConfig": fixed or None, "Links": links or None, "Aliases": list(spec.aliases) or None,
        "MacAddress": now.mac or spec.mac, "DriverOpts": dict(spec.driver_options) or None,
        "GwPriority": spec.gateway_priority, "NetworkID": now.network_id, "EndpointID": now.id,
        "Gateway": now.gateway_ipv4, "IPAddress": address, "IPPrefixLen": int(prefix or 0),
        "IPv6Gateway": now.gateway_ipv6, "GlobalIPv6Address": address6, "GlobalIPv6PrefixLen": int(prefix6 or 0),
        "DNSNames": None if network in _WITHOUT_NAMES else _dns_names(container, spec),
    }


def mount_points(container: exec_pb2.Container) -> list[dict[str, Any]]:
    """`Mounts`, those of HostConfig.Tmpfs left out as Docker leaves them out."""
    host = asked(container).object("HostConfig")
    hidden = set(host.object("Tmpfs"))
    volumes = {volume.target: volume for volume in plan(container).volumes}
    images = {image.target: image for image in plan(container).images}
    modes = {target: mode for _, target, mode in (_parts(text) for text in host.strings("Binds"))}
    modes |= {mount.text("Target"): "" for mount in host.objects("Mounts")}
    points = []
    for mount in container.spec.mounts:
        target = wire.text(mount.target)
        if mount.type == "tmpfs" and target in hidden:
            continue
        writable = "ro" not in {option.key for option in mount.options}
        volume = volumes.get(mount.target)
        if volume is not None:
            points.append({
                "Type": "volume", "Name": volume.name, "Source": wire.text(mount.source), "Destination": target,
                "Driver": volume.driver or "local", "Mode": (modes[target] or "z") if target in modes else "",
                "RW": writable, "Propagation": "",
            })
            continue
        if (image := images.get(mount.target)) is not None:
            points.append({"Type": "image", "Name": image.image, "Source": "", "Destination": target, "Mode": "",
                           "RW": False, "Propagation": ""})
            continue
        points.append({
            "Type": mount.type, "Source": wire.text(mount.source), "Destination": target,
            "Mode": "ro" if not writable and mount.type == "bind" else "", "RW": writable,
            "Propagation": (mount.propagation or "rprivate") if mount.type == "bind" else "",
        })
    return points


def _parts(bind: str) -> tuple[str, str, str]:
    """(source, target, modes) of a bind's text."""
    source, target, mode = [*bind.split(":"), "", ""][:3]
    return source, posixpath.normpath(target), mode
