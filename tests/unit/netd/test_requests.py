"""What enters: names, addresses, ports and owners, each with its grammar."""

from __future__ import annotations

import dataclasses
import errno
import socket
import types
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis import ids
from chassis.errors import InvalidArgument, PierError, Unimplemented
from chassis.instance import instance
from netd import bindings, files, options, ports, requests
from netd.bindings import Place
from netd.files import HostNames
from netd.records import Marks
from pier.network.v1 import network_pb2 as net
from pier.types.v1 import types_pb2

OWNER = types_pb2.Owner(manager="test", namespace="docker", id="c1")
HOST = HostNames(resolv_conf="nameserver 127.0.0.53\nnameserver 10.0.0.1\nsearch lan\noptions ndots:2\n",
                 hosts="127.0.0.1 localhost\n", hostname="node")
hostile = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    ["a\nb", "a b", "a\tb", "#x", "", "a\0b", "host-gateway", "x:host-gateway", "x:1.2.3.4", "x:::1"]
)


@given(hostile, hostile, st.lists(hostile, max_size=2), st.lists(hostile, max_size=2), st.lists(hostile, max_size=2))
def test_75_no_accepted_name_makes_a_line_of_its_own(
    hostname: str, domainname: str, extra: list[str], dns: list[str], search: list[str]
) -> None:
    request = net.CreateSandboxRequest(
        id="a" * 64, owner=OWNER, hostname=hostname, domainname=domainname, extra_hosts=extra, dns=dns,
        dns_search=search,
    )
    try:
        requests.sandbox(request)
    except PierError:
        return
    rendered = files.render(request, [], None, HOST)
    assert rendered.hostname.count(b"\n") == 1
    plain = files.render(net.CreateSandboxRequest(id="a" * 64), [], None, HOST)
    assert rendered.hosts.count(b"\n") == plain.hosts.count(b"\n") + len(extra)
    keys = {line.split()[0] for line in rendered.resolv_conf.decode().splitlines()}
    assert keys <= {"nameserver", "search", "options"}


def test_resolvers_on_the_hosts_loopback_are_left_out_and_replaced_when_none_is_left() -> None:
    request = net.CreateSandboxRequest(id="a" * 64, owner=OWNER)
    text = files.render(request, [], None, HOST).resolv_conf.decode()
    assert text == "nameserver 10.0.0.1\nsearch lan\noptions ndots:2\n"
    alone = dataclasses.replace(HOST, resolv_conf="nameserver ::1\n")
    text = files.render(request, [], None, alone).resolv_conf.decode()
    assert text == "".join(f"nameserver {resolver}\n" for resolver in files.FALLBACK_RESOLVERS)


def test_the_hosts_own_network_keeps_the_hosts_files_and_name() -> None:
    request = net.CreateSandboxRequest(id="a" * 64, owner=OWNER, host=True, extra_hosts=["db:10.0.0.9"])
    rendered = files.render(request, [], None, HOST)
    assert rendered.resolv_conf.decode() == HOST.resolv_conf
    assert rendered.hosts.decode() == HOST.hosts + "10.0.0.9\tdb\n"
    assert rendered.hostname == b"node\n"


@pytest.mark.parametrize("fields", [
    {"protocol": "tcp", "container_port": 0}, {"protocol": "tcp", "container_port": 65536},
    {"protocol": "TCP", "container_port": 80}, {"container_port": 80},
    {"protocol": "tcp", "container_port": 80, "host_port": 65536},
    {"protocol": "tcp", "container_port": 80, "host_port": 9, "host_port_end": 8},
    {"protocol": "tcp", "container_port": 80, "host_port_end": 8},
    {"protocol": "tcp", "container_port": 80, "host_ip": "localhost"},
    {"protocol": "tcp", "container_port": 80, "host_ip": "1.2.3.4; drop"},
    {"protocol": "tcp", "container_port": 80, "host_ip": "::ffff:1.2.3.4"},
    {"protocol": "tcp", "container_port": 80, "host_ip": "fe80::1"},
    {"protocol": "tcp", "container_port": 80, "host_ip": "fe80::1%eth0"},
], ids=str)
def test_a_port_out_of_range_or_grammar_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        requests.ports([net.PublishedPort(**fields)])  # type: ignore[arg-type]


def test_a_port_that_is_not_built_is_refused_as_such() -> None:
    with pytest.raises(Unimplemented):
        requests.ports([net.PublishedPort(protocol="tcp", container_port=80, host_ip="::1")])


@pytest.mark.parametrize("has", [True, False])
def test_sctp_is_refused_by_name_where_the_kernel_lacks_it(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    def made(family: int, kind: int, protocol: int) -> socket.socket:
        assert protocol == socket.IPPROTO_SCTP
        if not has:
            raise OSError(errno.EPROTONOSUPPORT, "Protocol not supported")
        return socket.socket()

    monkeypatch.setattr(ports, "socket", types.SimpleNamespace(**{**vars(socket), "socket": made}))
    wanted = [net.PublishedPort(protocol="sctp", container_port=80)]
    if has:
        assert requests.ports(wanted)[0].protocol == "sctp"
    else:
        with pytest.raises(Unimplemented, match="kernel has no sctp") as caught:
            requests.ports(wanted)
        assert caught.value.reason == "NO_SCTP"


@pytest.mark.parametrize("mac", ["01:00:5e:00:00:01", "02:42:AC:11:00:02", "02:42", "x"])
def test_a_mac_address_that_is_none_or_multicast_is_refused(mac: str) -> None:
    with pytest.raises(InvalidArgument):
        requests.endpoint(net.EndpointSpec(mac=mac))


@pytest.mark.parametrize("interface", ["lo", "..", "a/b", "sixteen-letters0", "a b", "a\n", "all", "default"])
def test_an_interface_name_that_the_kernel_or_a_path_would_trip_over_is_refused(interface: str) -> None:
    with pytest.raises(InvalidArgument):
        requests.endpoint(net.EndpointSpec(interface=interface))


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=140))
def test_an_accepted_owner_fits_its_mark_and_is_found_again(manager: str, namespace: str, identity: str) -> None:
    owner = types_pb2.Owner(manager=manager, namespace=namespace, id=identity)
    try:
        ids.owner(owner)
    except PierError:
        return
    marks = Marks("pier-x")
    alias = marks.endpoint("e" * 64, owner)
    assert len(alias.encode()) <= 255
    assert marks.owns(alias)
    assert marks.subject(alias) == "e" * 64
    assert not Marks("pier").owns(alias), "another instance's"


@given(st.from_regex(r"[a-z][a-z0-9-]{0,14}", fullmatch=True), st.from_regex(r"[0-9a-f]{64}", fullmatch=True))
def test_every_link_name_fits_the_kernel_and_no_two_kinds_collide(name: str, identity: str) -> None:
    made = instance(name)
    names = [made.bridge, made.network_link(identity), made.endpoint_link(identity)]
    assert all(len(link.encode()) <= 15 for link in names)
    assert len(set(names)) == 3


BRIDGE = "com.docker.network.bridge."


@pytest.mark.parametrize("key, value", [
    (options.MTU, "575"), (options.MTU, "65536"), (options.MTU, "-1"), (options.MTU, "\u0661500"),
    (options.ICC, "yes"), (options.MASQUERADE, ""), (options.BINDING, "::"), (options.BINDING, "localhost"),
    (options.NAME, "lo"), (options.NAME, "all"), (options.NAME, "default"), (options.NAME, "a/b"),
    (options.NAME, "sixteen-letters0"), (options.NAME, ".."), (options.NAME, ""), (options.NAME, 'a"b'),
    (options.PREFIX, "lo"), (options.PREFIX, "a b"), (options.PREFIX, "twelve-chars"), (options.PREFIX, ""),
    (options.MODE[4], "other"), (options.MODE[4], "isolated"), (options.MODE[6], "isolated"),
])
def test_an_option_with_a_value_that_is_none_is_refused_with_its_key(key: str, value: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        options.read(net.NetworkSpec(options={key: value}))
    assert caught.value.field == f"spec.options.{key}"


@pytest.mark.parametrize("key, value", [
    (BRIDGE + "unknown", "1"), (BRIDGE + "gateway_mode_ipv4", "nat-unprotected"), ("mtu", "1500"),
])
def test_an_option_that_is_not_built_is_refused_as_such(key: str, value: str) -> None:
    with pytest.raises(Unimplemented, match=key):
        options.read(net.NetworkSpec(options={key: value}))


def test_options_are_read_as_docker_reads_them() -> None:
    read = options.read(net.NetworkSpec(internal=True, options={
        options.MTU: "9000", options.ICC: "0", options.MASQUERADE: "F", options.BINDING: "127.0.0.1",
        options.NAME: "br-blue", options.PREFIX: "blue", options.MODE[4]: "isolated", options.MODE[6]: "routed",
    }))
    assert read == options.BridgeOptions(
        9000, "br-blue", False, False, IPv4Address("127.0.0.1"), "blue", "isolated", "routed"
    )
    assert options.read(net.NetworkSpec()).masqueraded == (4, 6)
    assert options.read(net.NetworkSpec(options={options.MODE[6]: "routed"})).masqueraded == (4,)


def test_a_link_that_is_too_small_for_ipv6_is_refused() -> None:
    small = {options.MTU: "1000"}
    assert options.read(net.NetworkSpec(options=small)).mtu == 1000
    with pytest.raises(InvalidArgument):
        options.read(net.NetworkSpec(options=small, enable_ipv6=True))


def pools(*subnets: str) -> list[net.Pool]:
    return [net.Pool(subnet=subnet) for subnet in subnets]


@pytest.mark.parametrize("spec, expected", [
    ({}, ((), (4,))),
    ({"enable_ipv6": True}, ((), (4, 6))),
    ({"enable_ipv6": True, "enable_ipv4": False}, ((), (6,))),
    ({"pools": pools("10.0.0.0/24")}, (("10.0.0.0/24",), ())),
    ({"pools": pools("10.0.0.0/24", "10.0.1.0/24")}, (("10.0.0.0/24", "10.0.1.0/24"), ())),
    ({"pools": pools("10.0.0.0/24"), "enable_ipv6": True}, (("10.0.0.0/24",), (6,))),
    ({"pools": pools("fd00::/64"), "enable_ipv6": True}, (("fd00::/64",), (4,))),
], ids=str)
def test_what_was_not_asked_for_is_chosen_in_each_ip_version_that_is_on(
    spec: dict[str, Any], expected: tuple[tuple[str, ...], tuple[int, ...]]
) -> None:
    wanted = requests.subnets(net.NetworkSpec(**spec))
    assert (tuple(str(plan.subnet) for plan in wanted.plans), wanted.choose) == expected


@pytest.mark.parametrize("spec", [
    {"enable_ipv4": False},
    {"pools": pools("fd00::/64")},
    {"pools": pools("10.0.0.0/24"), "enable_ipv4": False, "enable_ipv6": True},
    {"pools": pools("10.0.0.0/24", "10.0.0.128/25")},
    {"pools": [net.Pool(subnet="10.0.0.0/24", gateway="10.0.1.1")]},
    {"pools": [net.Pool(subnet="10.0.0.0/24", gateway="10.0.0.255")]},
    {"pools": [net.Pool(subnet="10.0.0.0/24", range="10.0.1.0/25")]},
    {"pools": [net.Pool(subnet="10.0.0.0/24", auxiliary={"a": "10.0.0.1"}, gateway="10.0.0.1")]},
    {"pools": [net.Pool(subnet="10.0.0.0/24", auxiliary={"a": "x"})]},
    {"pools": [net.Pool(subnet="fd00::%1/64")], "enable_ipv6": True},
    {"pools": [net.Pool(gateway="10.0.0.1")]},
    {"pools": pools(*(f"10.0.{number}.0/24" for number in range(17)))},
], ids=lambda spec: str(spec)[:60])
def test_subnets_that_do_not_fit_the_network_or_each_other_are_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        requests.subnets(net.NetworkSpec(**spec))


PORT = bindings.WantedPort("tcp", 80, None, range(8080, 8081))


@pytest.mark.parametrize("place, host, expected", [
    (Place((4,)), None, [("0.0.0.0", 8080)]),
    (Place((6,)), None, [("::", 8080)]),
    (Place((4, 6)), None, [("0.0.0.0", 8080), ("::", 8080)]),
    (Place((4, 6)), "0.0.0.0", [("0.0.0.0", 8080)]),
    (Place((4, 6)), "::", [("::", 8080)]),
    (Place((4, 6), default=IPv4Address("127.0.0.1")), None, [("127.0.0.1", 8080)]),
    (Place((6,), default=IPv4Address("127.0.0.1")), None, [("::", 8080)]),
    (Place((4, 6), direct=(6,)), None, [("0.0.0.0", 8080), ("::", 0)]),
    (Place((4, 6), direct=(4, 6)), None, [("0.0.0.0", 0), ("::", 0)]),
], ids=str)
def test_a_port_is_published_at_every_address_that_its_binding_and_its_network_mean(
    place: Place, host: str | None, expected: list[tuple[str, int]]
) -> None:
    wanted = replace(PORT, host_address=ip_address(host) if host else None)
    ((group),) = bindings.groups(wanted, place)
    made = bindings.all_answered([wanted], place, [group])
    assert [(port.host_ip, port.host_port) for port in made] == expected
    assert {(str(port.address), port.port) for port in group} == {pair for pair in expected if pair[1]}
    assert bindings.matching(wanted, place, made) == made
    assert bindings.matching(wanted, place, made[:-1]) == []


@pytest.mark.parametrize("versions, host", [((4,), "::"), ((6,), "127.0.0.1")])
def test_a_port_at_an_address_of_a_version_that_the_container_lacks_is_refused(
    versions: tuple[int, ...], host: str
) -> None:
    with pytest.raises(InvalidArgument, match="has no IPv"):
        bindings.groups(replace(PORT, host_address=ip_address(host)), Place(versions))
