"""What stands in the nft table for which networks and ports: a case for each, whose name is the specification."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from netd.ipam import Address
from netd.nft import JsonObject, Nft
from netd.table import ANY, ANY6, Bridge, PublishedPort, Table


class Recorder(Nft):
    """Keeps batches in place of the kernel."""

    def __init__(self) -> None:
        self.elements: set[str] = set()

    def run(self, commands: object) -> None:
        for command in commands:  # type: ignore[attr-defined]
            for verb, body in command.items():
                for item in body["element"]["elem"]:
                    text = f"{body['element']['name']}: {_shown(item)}"
                    self.elements.add(text) if verb == "add" else self.elements.remove(text)


def _shown(item: JsonObject | list[JsonObject]) -> str:
    if isinstance(item, list):
        return f"{_shown(item[0])} -> {_words(item[1])}"
    return _words(item["elem"]["val"])


def _words(value: object) -> str:
    if isinstance(value, dict) and "concat" in value:
        return " . ".join(map(_words, value["concat"]))
    if isinstance(value, dict):
        return f"{value['prefix']['addr']}/{value['prefix']['len']}"
    return str(value)


def network(*subnets: str, **fields: object) -> Bridge:
    return Bridge("n" * 64, "br0", tuple(map(ip_network, subnets)), **{"routed": True, **fields})  # type: ignore[arg-type]


def port(host: str, number: int, address: str, protocol: str = "tcp") -> PublishedPort:
    def parsed(text: str) -> Address:
        return IPv6Address(text) if ":" in text else IPv4Address(text)

    return PublishedPort("e" * 64, protocol, parsed(host), number, parsed(address), 80)


V4 = network("10.0.0.0/24", masqueraded=(4,))
CASES: dict[str, tuple[Bridge | PublishedPort, set[str]]] = {
    "a-network-is-masqueraded-and-its-containers-may-speak": (V4, {
        "bridges: br0", "within: br0 . br0", "routed: br0", "masqueraded: br0", "subnets: br0 . 10.0.0.0/24"}),
    "without-icc-its-containers-are-silent": (network("10.0.0.0/24", icc=False, masqueraded=(4,)), {
        "bridges: br0", "silent: br0 . br0", "routed: br0", "masqueraded: br0", "subnets: br0 . 10.0.0.0/24"}),
    "an-internal-network-is-neither-routed-nor-masqueraded": (network("10.0.0.0/24", routed=False), {
        "bridges: br0", "within: br0 . br0", "subnets: br0 . 10.0.0.0/24"}),
    "without-masquerade-it-goes-out-as-itself": (network("10.0.0.0/24", masqueraded=()), {
        "bridges: br0", "within: br0 . br0", "routed: br0", "subnets: br0 . 10.0.0.0/24"}),
    "routed-mode-is-direct-and-not-masqueraded": (network("10.0.0.0/24", masqueraded=(), direct=(4,)), {
        "bridges: br0", "within: br0 . br0", "routed: br0", "direct: br0", "subnets: br0 . 10.0.0.0/24"}),
    "both-versions-have-a-set-each": (network("10.0.0.0/24", "fd00::/64"), {
        "bridges: br0", "within: br0 . br0", "routed: br0", "masqueraded: br0", "masqueraded6: br0",
        "subnets: br0 . 10.0.0.0/24", "subnets6: br0 . fd00::/64"}),
    "routed-in-one-version-and-nat-in-the-other": (
        network("10.0.0.0/24", "fd00::/64", masqueraded=(4,), direct=(6,)), {
            "bridges: br0", "within: br0 . br0", "routed: br0", "masqueraded: br0", "direct6: br0",
            "subnets: br0 . 10.0.0.0/24", "subnets6: br0 . fd00::/64"}),
    "several-subnets-are-all-its-own": (network("10.0.0.0/24", "10.1.0.0/24", masqueraded=()), {
        "bridges: br0", "within: br0 . br0", "routed: br0", "subnets: br0 . 10.0.0.0/24",
        "subnets: br0 . 10.1.0.0/24"}),
    "a-port-everywhere-is-found-by-its-number": (port("0.0.0.0", 8080, "10.0.0.2"), {
        "published: tcp . 8080 -> 10.0.0.2 . 80"}),
    "a-port-at-one-address-is-found-by-it": (port("127.0.0.1", 8080, "10.0.0.2", "udp"), {
        "published_at: 127.0.0.1 . udp . 8080 -> 10.0.0.2 . 80"}),
    "an-ipv6-port-everywhere-has-a-map-of-its-own": (port("::", 8080, "fd00::2"), {
        "published6: tcp . 8080 -> fd00::2 . 80"}),
    "an-ipv6-port-at-one-address-too": (port("2001:db8::1", 8080, "fd00::2"), {
        "published6_at: 2001:db8::1 . tcp . 8080 -> fd00::2 . 80"}),
    "a-port-of-a-routed-network-is-opened-and-takes-nothing": (port("0.0.0.0", 0, "10.0.0.2"), {
        "opened: 10.0.0.2 . tcp . 80"}),
    "an-ipv6-port-of-a-routed-network-too": (port("::", 0, "fd00::2", "udp"), {"opened6: fd00::2 . udp . 80"}),
}


@pytest.mark.parametrize("name", list(CASES))
def test_a_network_or_port_is_these_elements_and_is_gone_without_a_rest(name: str) -> None:
    given, expected = CASES[name]
    recorder = Recorder()
    table = Table(recorder, "t")
    if isinstance(given, Bridge):
        table.add_bridge(given)
        assert recorder.elements == expected
        table.remove_bridge(given.link)
    else:
        table.publish([given])
        table.publish([given])
        assert recorder.elements == expected
        assert table.unpublish("e" * 64) == [given]
    assert recorder.elements == set()


def test_a_port_that_is_to_go_and_to_come_stays_as_it_is() -> None:
    recorder = Recorder()
    table = Table(recorder, "t")
    old, kept, new = port("0.0.0.0", 1, "10.0.0.2"), port("0.0.0.0", 2, "10.0.0.2"), port("::", 2, "fd00::2")
    table.publish([old, kept])
    table.change([old, kept], [kept, new])
    assert recorder.elements == {"published: tcp . 2 -> 10.0.0.2 . 80", "published6: tcp . 2 -> fd00::2 . 80"}
    assert table.holds([], [kept, new])
    assert (kept.host_address, new.host_address) == (ANY, ANY6)
