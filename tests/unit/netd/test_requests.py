"""What enters: names, addresses, ports and owners, each with its grammar."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidArgument, PierError, Unimplemented
from chassis.instance import instance
from netd import files, requests
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
], ids=str)
def test_a_port_out_of_range_or_grammar_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        requests.ports([net.PublishedPort(**fields)])  # type: ignore[arg-type]


@pytest.mark.parametrize("fields", [{"protocol": "sctp", "container_port": 80},
                                    {"protocol": "tcp", "container_port": 80, "host_ip": "::"}], ids=str)
def test_a_port_that_is_not_built_is_refused_as_such(fields: dict[str, object]) -> None:
    with pytest.raises(Unimplemented):
        requests.ports([net.PublishedPort(**fields)])  # type: ignore[arg-type]


@pytest.mark.parametrize("mac", ["01:00:5e:00:00:01", "02:42:AC:11:00:02", "02:42", "x"])
def test_a_mac_address_that_is_none_or_multicast_is_refused(mac: str) -> None:
    with pytest.raises(InvalidArgument):
        requests.endpoint(net.EndpointSpec(mac=mac))


@pytest.mark.parametrize("interface", ["lo", "..", "a/b", "sixteen-letters0", "a b", "a\n"])
def test_an_interface_name_that_the_kernel_or_a_path_would_trip_over_is_refused(interface: str) -> None:
    with pytest.raises(InvalidArgument):
        requests.endpoint(net.EndpointSpec(interface=interface))


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=140))
def test_an_accepted_owner_fits_its_mark_and_is_found_again(manager: str, namespace: str, identity: str) -> None:
    owner = types_pb2.Owner(manager=manager, namespace=namespace, id=identity)
    try:
        requests.owner(owner)
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
