"""One suite for every network driver, and what macvlan has of its own."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Iterator
from ipaddress import ip_interface
from pathlib import Path

import pytest

from chassis.errors import Conflict, InvalidArgument, NotFound, PierError, Unimplemented
from chassis.ids import NetworkId
from netd import bridge, drivers, ipam, links, netns
from netd.drivers import Driver
from netd.netlink import NetlinkSocket
from netd.records import Network
from netd.wiring import Wire
from pier.network.v1 import network_pb2 as net
from pier.types.v1 import types_pb2
from tests import world
from tests.service.netd.engine import Netd, links_gone, run, tcp
from tests.service.netd.packets import attempt, in_namespace, in_namespace6, listener, on_host, reach
from tests.service.netd.test_service import OUTSIDE, attempted, path_of, reached

ALIAS = "pier-dt network " + "1" * 64 + " test/docker/blue"


class Bench:
    """A driver with a network and sandboxes, without the service."""

    def __init__(self, directory: Path, spec: net.NetworkSpec) -> None:
        self.directory = directory
        self.host = NetlinkSocket()
        self.driver: Driver = drivers.of(spec.driver)
        self.driver.validate(spec)
        plans = (ipam.plan(ipam.parse_subnet("10.78.0.0/24", "")), ipam.plan(ipam.parse_subnet("fd78::/64", "")))
        self.network = Network(
            NetworkId("1" * 64), "docker", "blue", types_pb2.Owner(), 1, spec, False,
            self.driver.link_of(spec, "pvdtn111111"), plans, (0, 0))
        self.pins: list[Path] = []

    def sandbox(self) -> Path:
        made, inner = netns.make(self.directory)
        inner.close()
        self.pins.append(made.path)
        return made.path

    def wire(self, number: int) -> Wire:
        addresses = (ip_interface(f"10.78.0.{number}/24"), ip_interface(f"fd78::{number}/64"))
        link = f"pvdt{number}" if self.driver.name == "bridge" else ""
        alias = f"pier-dt endpoint {number:064x} test/docker/c"
        mac = "" if self.driver.has_parents_mac(self.network.spec) else f"02:42:0a:4e:00:{number:02x}"
        return self.driver.wire(Wire(link, alias, "eth0", addresses, mac, ()), self.network)

    def is_set_up(self) -> bool:
        present = {link.name: link for link in links.all_links(self.host)}
        return self.driver.is_set_up(self.network, ALIAS, present, links.addresses(self.host))

    def is_attached(self, pin: Path, wire: Wire) -> bool:
        return self.driver.is_attached(pin, wire, {link.name: link for link in links.all_links(self.host)})

    def setup(self) -> None:
        self.driver.setup(self.host, self.network, ALIAS)
        if self.driver.name == "bridge":
            bridge.open_(self.network.link, [ip_interface("fd78::1/64")])  # type: ignore[list-item]

    def close(self) -> None:
        for pin in self.pins:
            # The kernel frees a macvlan link's MAC address with its cut, and what is in the namespace some time later.
            self.driver.cut(self.host, pin, [self.wire(2), self.wire(3)])
            netns.unpin(pin)
        self.driver.teardown(self.host, self.network, ALIAS)
        links_gone("pvdt")
        self.host.close()


def has_ipvlan() -> bool:
    """As `ip` finds it, by a link of its own."""
    made = subprocess.run(["ip", "link", "add", "dtprobe", "link", "lo", "type", "ipvlan"], check=False,
                          capture_output=True, text=True)
    subprocess.run(["ip", "link", "delete", "dtprobe"], check=False, capture_output=True)
    return "Unknown device type" not in made.stderr


SPECS = {
    "bridge": net.NetworkSpec(driver="bridge"),
    "macvlan": net.NetworkSpec(driver="macvlan", options={"parent": "eth0"}),
    "macvlan without a parent": net.NetworkSpec(driver="macvlan"),
    "ipvlan": net.NetworkSpec(driver="ipvlan", options={"parent": "eth0"}),
}


@pytest.fixture(params=list(SPECS))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    spec = SPECS[request.param]
    if spec.driver == "ipvlan" and not has_ipvlan():
        pytest.skip("this kernel has no ipvlan links (CONFIG_IPVLAN)")
    made = Bench(tmp_path, spec)
    yield made
    made.close()


def names(sock: NetlinkSocket) -> set[str]:
    return {link.name for link in links.all_links(sock)}


def test_a_network_is_set_up_and_taken_down_as_often_as_one_likes(bench: Bench) -> None:
    before = names(bench.host)
    for _ in range(2):
        bench.setup()
        assert bench.is_set_up()
    for _ in range(2):
        bench.driver.teardown(bench.host, bench.network, ALIAS)
    links_gone("pvdt")
    assert names(bench.host) == before


def test_sandboxes_on_one_network_reach_each_other_over_both_ip_versions(bench: Bench) -> None:
    bench.setup()
    one, two = bench.sandbox(), bench.sandbox()
    for pin, number in ((one, 2), (two, 3)):
        wire = bench.wire(number)
        assert not bench.is_attached(pin, wire)
        bench.driver.attach(bench.host, pin, wire)
        assert bench.is_attached(pin, wire)
        with netns.enter(pin) as inside:
            assert links.link(inside, "eth0").mac == (wire.mac or links.link(bench.host, bench.network.link).mac)
    with listener(in_namespace(two), "0.0.0.0", 80) as server:
        assert reach(in_namespace(one), "10.78.0.3", 80, server) == "10.78.0.2"
    with listener(in_namespace6(two), "::", 80) as server:
        assert reach(in_namespace6(one), "fd78::3", 80, server) == "fd78::2"


def test_a_wire_is_made_again_where_it_broke_off_and_mended_where_it_lacks(bench: Bench) -> None:
    bench.setup()
    one, two = bench.sandbox(), bench.sandbox()
    bench.driver.attach(bench.host, one, bench.wire(2))
    bench.driver.attach(bench.host, one, bench.wire(2))
    bench.driver.mend(bench.host, two, bench.wire(3))
    assert bench.is_attached(two, bench.wire(3))
    with listener(in_namespace(two), "0.0.0.0", 80) as server:
        assert reach(in_namespace(one), "10.78.0.3", 80, server) == "10.78.0.2"


def test_a_detached_sandbox_has_loopback_alone_and_detaching_again_is_no_error(bench: Bench) -> None:
    bench.setup()
    pin, before = bench.sandbox(), names(bench.host)
    bench.driver.attach(bench.host, pin, bench.wire(2))
    for _ in range(2):
        bench.driver.detach(bench.host, pin, bench.wire(2))
    assert not bench.is_attached(pin, bench.wire(2))
    with netns.enter(pin) as inside:
        assert names(inside) == {"lo"}
    assert names(bench.host) == before


def test_nothing_passes_a_wire_that_was_cut(bench: Bench) -> None:
    bench.setup()
    one, two = bench.sandbox(), bench.sandbox()
    bench.driver.attach(bench.host, one, bench.wire(2))
    bench.driver.attach(bench.host, two, bench.wire(3))
    with listener(in_namespace(two), "0.0.0.0", 80) as server:
        bench.driver.cut(bench.host, two, [bench.wire(3)])
        bench.driver.cut(bench.host, two, [bench.wire(3)])
        assert attempt(in_namespace(one), "10.78.0.3", 80, server) is None


def test_a_strangers_link_of_the_networks_name_is_neither_taken_over_nor_taken_away(bench: Bench) -> None:
    if bench.network.link == "eth0":
        bench.driver.teardown(bench.host, bench.network, ALIAS)
        assert "eth0" in names(bench.host), "the parent is the host's"
        return
    run("ip", "link", "add", bench.network.link, "type", "bridge")
    with pytest.raises(Conflict, match="not this engine's"):
        bench.driver.setup(bench.host, bench.network, ALIAS)
    bench.driver.teardown(bench.host, bench.network, ALIAS)
    assert bench.network.link in names(bench.host)
    run("ip", "link", "del", bench.network.link)


@pytest.mark.parametrize("name", drivers.names())
def test_an_option_that_a_driver_does_not_know_is_refused_by_name(name: str) -> None:
    with pytest.raises(Unimplemented, match=r"com\.example\.nope"):
        drivers.of(name).validate(net.NetworkSpec(driver=name, options={"com.example.nope": "1"}))


def test_a_driver_that_is_not_built_is_refused_by_name() -> None:
    with pytest.raises(Unimplemented, match="overlay"):
        drivers.of("overlay")


def test_the_kernel_is_asked_for_kinds_of_links_and_nothing_is_made_by_that() -> None:
    with NetlinkSocket() as sock:
        before = names(sock)
        assert links.has_kind(sock, "macvlan")
        assert not links.has_kind(sock, "nosuchkind")
        assert links.has_kind(sock, "ipvlan") == has_ipvlan()
        assert names(sock) == before


async def test_ipvlan_is_real_where_the_kernel_has_it_and_refused_with_the_reason_where_not(netd: Netd) -> None:
    made = {"driver": "ipvlan", "options": {"parent": "eth0"}}
    if not has_ipvlan():
        with pytest.raises(Unimplemented, match="kernel has no ipvlan links") as caught:
            await netd.create_network(7, "lan", pools=LAN, **made)
        assert caught.value.reason == "NO_IPVLAN"
        with pytest.raises(NotFound):
            await netd.network("lan")
        return
    await netd.create_network(7, "lan", pools=LAN, **made)
    container = await netd.create(1)
    endpoint = await netd.attach(1, "lan")
    assert endpoint.mac == ""
    with listener(OUTSIDE, world.FAR, 7001) as server:
        assert await reached(in_namespace(path_of(container)), world.FAR, 7001, server) == "198.51.100.64"
    await netd.remove(1)
    await netd.remove_network("lan")


@pytest.mark.parametrize("options, expected", [
    ({"ipvlan_mode": "l3"}, Unimplemented), ({"ipvlan_mode": "l3s"}, Unimplemented),
    ({"ipvlan_mode": "l4"}, InvalidArgument), ({"ipvlan_flag": "passthru"}, InvalidArgument),
    ({"macvlan_mode": "bridge"}, Unimplemented), ({"parent": "a/b"}, InvalidArgument),
], ids=str)
def test_an_option_of_ipvlan_that_is_none_or_not_built_is_refused(
    options: dict[str, str], expected: type[PierError]
) -> None:
    with pytest.raises(expected):
        drivers.of("ipvlan").validate(net.NetworkSpec(driver="ipvlan", options=options))


@pytest.mark.parametrize("options", [
    {"parent": "a/b"}, {"parent": "lo"}, {"macvlan_mode": "source"}, {"com.docker.network.driver.mtu": "x"},
], ids=str)
def test_an_option_of_macvlan_with_a_value_that_is_none_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        drivers.of("macvlan").validate(net.NetworkSpec(driver="macvlan", options=options))


@pytest.mark.parametrize("mode, meet", [("bridge", True), ("private", False), ("vepa", False)])
def test_containers_of_one_parent_meet_where_the_mode_says_so(tmp_path: Path, mode: str, meet: bool) -> None:
    bench = Bench(tmp_path, net.NetworkSpec(driver="macvlan", options={"parent": "eth0", "macvlan_mode": mode}))
    try:
        bench.setup()
        one, two = bench.sandbox(), bench.sandbox()
        bench.driver.attach(bench.host, one, bench.wire(2))
        bench.driver.attach(bench.host, two, bench.wire(3))
        with listener(in_namespace(two), "0.0.0.0", 80) as server:
            way = reach if meet else attempt
            assert (way(in_namespace(one), "10.78.0.3", 80, server) is not None) == meet
    finally:
        bench.close()


def test_a_parent_in_passthru_mode_is_one_containers_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, net.NetworkSpec(driver="macvlan", options={"macvlan_mode": "passthru"}))
    try:
        bench.setup()
        wire = dataclasses.replace(bench.wire(2), mac="")
        one, two = bench.sandbox(), bench.sandbox()
        bench.driver.attach(bench.host, one, wire)
        with netns.enter(one) as inside:
            assert links.link(inside, "eth0").mac == links.link(bench.host, bench.network.link).mac
        with pytest.raises(Conflict, match="another container"):
            bench.driver.attach(bench.host, two, dataclasses.replace(bench.wire(3), mac=""))
    finally:
        bench.close()


def test_a_parent_that_is_not_there_is_named_and_a_vlan_is_made_where_the_kernel_can(tmp_path: Path) -> None:
    for parent, expected in (("nope", NotFound), ("nope.5", NotFound), ("eth0.5000", NotFound)):
        bench = Bench(tmp_path, net.NetworkSpec(driver="macvlan", options={"parent": parent}))
        with pytest.raises(expected, match="no link of this host"):
            bench.setup()
        bench.close()
    bench = Bench(tmp_path, net.NetworkSpec(driver="macvlan", options={"parent": "eth0.5"}))
    try:
        bench.setup()
    except Unimplemented as error:
        assert error.reason == "NO_VLAN"  # noqa: PT017 - either way is right, by the kernel that is there
        assert "eth0.5" not in names(bench.host)
    else:
        assert links.link(bench.host, "eth0.5").kind == "vlan"
    finally:
        bench.close()
    assert not Path("/sys/class/net/eth0.5").exists()


MACVLAN = {"driver": "macvlan", "options": {"parent": "eth0"}}
LAN = [net.Pool(subnet="198.51.100.0/24", gateway=world.GATEWAY, range="198.51.100.64/28",
                auxiliary={"host": world.ADDRESS})]


async def test_a_container_on_macvlan_is_a_host_of_the_parents_network(netd: Netd) -> None:
    network = await netd.create_network(7, "lan", pools=LAN, **MACVLAN)
    assert (network.link, network.spec.driver) == ("eth0", "macvlan")
    made = await netd.create(1, names=["one"])
    endpoint = await netd.attach(1, "lan")
    assert (endpoint.ipv4, endpoint.gateway_ipv4) == ("198.51.100.64/24", world.GATEWAY)
    inside = in_namespace(path_of(made))
    with listener(OUTSIDE, world.FAR, 7001) as server:
        assert await reached(inside, world.FAR, 7001, server) == "198.51.100.64", "by the gateway, as itself"
    with listener(inside, "0.0.0.0", 80) as server:
        assert await reached(OUTSIDE, "198.51.100.64", 80, server) == world.GATEWAY
        assert await attempted(on_host, "198.51.100.64", 80, server) is None, "the kernel keeps parent and host apart"
    await netd.create(2)
    with pytest.raises(InvalidArgument, match="publishes no ports"):
        await netd.attach(2, "lan", ports=[tcp(0)])
    with pytest.raises(Conflict, match="another network's already"):
        await netd.create_network(0x8 << 240, "again", pools=[net.Pool(subnet="10.88.0.0/24")], **MACVLAN)
    await netd.kill()
    await netd.start()
    assert await netd.fsck() == []
    await netd.attach(1, "bridge", gateway_priority=1)
    await netd.detach(1, "lan")
    with netns.enter(path_of(made)) as sock:
        assert names(sock) == {"lo", "eth1"}
    await netd.attach(1, "lan")
    with netns.enter(path_of(made)) as sock:
        sock.run([links.delete_link("eth0")])
    assert [finding.reason for finding in await netd.fsck(repair=True)] == ["ENDPOINT_WITHOUT_LINK"]
    assert await netd.fsck() == []
    await netd.remove(1)
    await netd.create(1)
    assert (await netd.attach(1, "lan", ipv4="198.51.100.64")).mac == endpoint.mac, "at once, under the same address"
    await netd.remove(1)
    with pytest.raises(PierError):
        await netd.attach(2, "lan", ipv4=world.ADDRESS)
    await netd.remove_network("lan")
    assert Path("/sys/class/net/eth0").exists()


async def test_a_macvlan_network_without_a_parent_is_internal_and_leaves_nothing(netd: Netd) -> None:
    network = await netd.create_network(7, "inner", driver="macvlan", enable_ipv6=True)
    assert network.spec.internal
    assert network == await netd.create_network(7, "inner", driver="macvlan", enable_ipv6=True), "the same again"
    one, two = await netd.create(1, names=["one"]), await netd.create(2, names=["two"])
    first, second = await netd.attach(1, "inner"), await netd.attach(2, "inner")
    assert first.gateway_ipv4 == ""
    with listener(in_namespace6(path_of(two)), "::", 80) as server:
        address = second.ipv6.partition("/")[0]
        assert await reached(in_namespace6(path_of(one)), address, 80, server) == first.ipv6.partition("/")[0]
    run("ip", "link", "del", network.link)
    reasons = {finding.reason for finding in await netd.fsck(repair=True)}
    assert "NETWORK_WITHOUT_LINK" in reasons
    await netd.fsck(repair=True)
    assert await netd.fsck() == []
    for number in (1, 2):
        await netd.remove(number)
    await netd.remove_network("inner")
    assert not Path(f"/sys/class/net/{network.link}").exists()
