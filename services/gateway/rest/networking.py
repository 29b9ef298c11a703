"""NetworkMode and EndpointsConfig → the plan by which the coordinator joins a container to networks."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from chassis.errors import Conflict, NotFound
from coordinator.plans import plan_of
from coordinator.services import NAMESPACE
from gateway.rest import settings
from gateway.rest.body import Fields
from gateway.rest.call import Call
from gateway.rest.draft import Draft
from gateway.rest.errors import bad
from gateway.rest.find import find_container
from gateway.rest.versions import Version
from pier.engine.v1 import engine_pb2
from pier.network.v1 import network_pb2

_SEVERAL_SINCE: Final = Version(1, 44)
MAC_OF_ENDPOINTS_SINCE: Final = Version(1, 44)
_PRIORITY_SINCE: Final = Version(1, 48)
DEFAULT: Final = "bridge"
_SHORT: Final = 12
_MAC: Final = re.compile(r"[0-9A-Fa-f]{2}([:-])[0-9A-Fa-f]{2}(\1[0-9A-Fa-f]{2}){4}|[0-9A-Fa-f]{4}(\.[0-9A-Fa-f]{4}){2}")
_SINGLE: Final = ("host", "none")


async def plan(call: Call, draft: Draft) -> engine_pb2.ContainerPlan:
    """How the container is joined to networks at each start. Conflict for a container that is not there."""
    made = engine_pb2.ContainerPlan(
        network_mode=draft.network_mode, dns=draft.dns, dns_search=draft.dns_search, dns_options=draft.dns_options,
        extra_hosts=draft.extra_hosts, volumes=draft.volumes, images=draft.images, ports=draft.ports,
        exposed_ports=sorted(set(draft.exposed)),
    )
    mode = draft.network_mode
    _check_conflicts(draft)
    if mode.startswith("container:"):
        try:
            other = await find_container(call, mode.partition(":")[2])
        except NotFound as error:  # by a "not found" of the create the command would pull the image
            raise Conflict(error.message, reason=error.reason, field="HostConfig.NetworkMode") from error
        made.network_mode = f"container:{other.id}"
    if mode in _SINGLE or mode.startswith("container:"):
        for name, fields in draft.endpoints.items():
            if any(fields.raw(each.name) for each in settings.ENDPOINT if each.target.startswith("EndpointSpec")):
                raise bad(f"NetworkingConfig.EndpointsConfig.{name}: endpoint settings need a network of their own")
        return made
    rest = dict(draft.endpoints)
    if mode == DEFAULT and set(rest) <= {DEFAULT}:  # it is always there
        spec = _main(draft, rest.get(DEFAULT) or Fields({}, "EndpointsConfig"))
        check_fixed(spec, network_pb2.Network(name=DEFAULT))
        spec.links.extend([await _container_link(call, link) for link in draft.links])
        made.attachments.add(network=DEFAULT, spec=spec)
        return made
    main = await find_network(call, mode)
    first = next((rest.pop(name) for name in (main.name, main.id) if name in rest), Fields({}, "EndpointsConfig"))
    if rest and call.version < _SEVERAL_SINCE:
        raise bad(f"Container cannot be connected to network endpoints: {', '.join(sorted(draft.endpoints))}")
    spec = _main(draft, first)
    check_fixed(spec, main)
    spec.links.extend(link for link in map(_link, draft.links) if link not in spec.links)
    made.attachments.add(network=main.name, spec=spec)
    for name in sorted(rest):
        network, spec = await find_network(call, name), endpoint(draft, rest[name])
        check_fixed(spec, network)
        made.attachments.add(network=network.name, spec=spec)
    return made


def _check_conflicts(draft: Draft) -> None:
    """400 for settings that mean nothing in another's network namespace, in Docker's order and words."""
    others, host = draft.network_mode.startswith("container:"), draft.network_mode == "host"
    for given, what, field in (
        (others and draft.spec.hostname, "hostname and the network mode", "Hostname"),
        ((draft.network_mode in _SINGLE or others) and draft.links,
         f"{draft.network_mode.partition(':')[0]} type networking can't be used with links", "HostConfig.Links"),
        (others and draft.dns, "dns and the network mode", "HostConfig.Dns"),
        (others and draft.extra_hosts, "custom host-to-IP mapping and the network mode", "HostConfig.ExtraHosts"),
        ((others or host) and (draft.mac or any(fields.raw("MacAddress") for fields in draft.endpoints.values())),
         "mac-address and the network mode", "MacAddress"),
        (others and (draft.ports or draft.publish_all), "port publishing and the container type network mode",
         "HostConfig.PortBindings"),
        (others and draft.exposed, "port exposing and the container type network mode", "ExposedPorts"),
    ):
        if given:
            raise bad(f"conflicting options: {what}", field=field)


def _main(draft: Draft, fields: Fields) -> network_pb2.EndpointSpec:
    """The endpoint on the network of NetworkMode, which has the container's own MAC address, too."""
    spec = endpoint(draft, fields)
    if draft.mac:
        mac = _mac(draft.mac, "MacAddress")
        if spec.mac not in ("", mac):
            raise bad("the container-wide MAC address must match the endpoint-specific MAC address for the main "
                      "network, or be left empty", field="MacAddress")
        spec.mac = mac
    return spec


def check_fixed(spec: network_pb2.EndpointSpec, network: network_pb2.Network) -> None:
    """400 where an address is asked for of an IP version in which nobody gave the network a subnet."""
    if network.name in (DEFAULT, *_SINGLE) and (spec.ipv4 or spec.ipv6):
        raise bad("user specified IP address is supported on user defined networks only", field="IPAMConfig")
    given = [ipaddress.ip_network(pool.subnet).version for pool in network.spec.pools if not pool.chosen]
    for address, version in ((spec.ipv4, 4), (spec.ipv6, 6)):
        if address and network.id and version not in given:
            raise bad("user specified IP address is supported only when connecting to networks with user configured "
                      "subnets", field="IPAMConfig")


async def find_network(call: Call, name: str) -> network_pb2.Network:
    """The network called ``name``.

    One that is not there has that name alone: it may be there at the start, which refuses it otherwise. (Docker's way.
    A "not found" of the create would make the command pull the image.)
    """
    services = call.engine.services
    try:
        found: network_pb2.GetNetworkResponse = await services.netd.call(
            services.networks.GetNetwork, network_pb2.GetNetworkRequest(namespace=NAMESPACE, network=name)
        )
    except NotFound:
        return network_pb2.Network(name=name)
    return found.network


def endpoint(draft: Draft, fields: Fields) -> network_pb2.EndpointSpec:
    """EndpointSettings as netd takes them."""
    for setting in settings.ENDPOINT:
        if setting.refused and setting.name in fields:
            settings.refuse(fields, setting)
    addresses = fields.object("IPAMConfig")
    if addresses.strings("LinkLocalIPs"):
        raise bad(f"{addresses.path('LinkLocalIPs')}: link-local addresses cannot be asked for")
    spec = network_pb2.EndpointSpec(
        ipv4=_address(addresses, "IPv4Address"), ipv6=_address(addresses, "IPv6Address"),
        aliases=fields.strings("Aliases"), links=map(_link, fields.strings("Links")),
        driver_options=fields.string_map("DriverOpts"),
    )
    if draft.version >= MAC_OF_ENDPOINTS_SINCE:
        spec.mac = _mac(fields.text("MacAddress"), fields.path("MacAddress"))
    if draft.version >= _PRIORITY_SINCE:
        spec.gateway_priority = fields.integer("GwPriority")
    return spec


async def _container_link(call: Call, text: str) -> str:
    """A link of the default network: it means the container that is called so now, whatever it will be called."""
    name, _, alias = _link(text).partition(":")
    try:
        other = await find_container(call, name)
    except NotFound as error:
        raise bad(f"could not get container for {name}: {error.message}", field="HostConfig.Links") from error
    if plan_of(other).network_mode != DEFAULT:
        raise bad(f"Cannot link to {other.name}, as it does not belong to the default network",
                  field="HostConfig.Links")
    return f"{other.id[:_SHORT]}:{alias if alias != name else other.name}"


def _link(text: str) -> str:
    """``name:alias``; a name alone is its own alias."""
    name, _, alias = text.partition(":")
    if not name or ":" in alias:
        raise bad(f"bad format for links: {text[:80]}", field="Links", expected="name:alias")
    return f"{name}:{alias or name}"


def _mac(text: str, where: str) -> str:
    """As Go's net.ParseMAC reads one of six bytes: pairs with ':' or '-' between, or fours with '.'."""
    if not text:
        return ""
    if not _MAC.fullmatch(text):
        raise bad(f"address {text[:80]}: invalid MAC address", field=where)
    digits = re.sub("[:.-]", "", text).lower()
    return ":".join(digits[at:at + 2] for at in range(0, 12, 2))


def _address(fields: Fields, key: str) -> str:
    text = fields.text(key)
    try:
        return str(ipaddress.ip_address(text)) if text else ""
    except ValueError:
        raise bad(f"invalid {key} address: {text[:80]!a}", field=fields.path(key)) from None
