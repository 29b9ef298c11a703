"""Netlink's bytes: what is packed is read back, and what is malformed is refused without harm."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netd import ipvlan, links, netlink

kinds = st.integers(1, 0x3FFF)


@given(st.dictionaries(kinds, st.binary(max_size=300), max_size=20))
def test_attributes_are_read_back_as_they_were_packed(values: dict[int, bytes]) -> None:
    packed = b"".join(netlink.attribute(kind, payload) for kind, payload in values.items())
    assert len(packed) % 4 == 0
    assert netlink.parse_attributes(packed) == values
    assert netlink.parse_attributes(netlink.parse_attributes(netlink.nested(5, packed))[5]) == values


@given(st.binary(max_size=400))
def test_any_bytes_are_parsed_or_refused_and_nothing_else(data: bytes) -> None:
    for parse in (netlink.parse_attributes, lambda raw: list(netlink.parse_messages(raw))):
        try:
            parse(data)
        except netlink.Malformed:
            pass


@given(st.binary(max_size=200))
def test_any_attributes_make_a_link_or_are_refused(data: bytes) -> None:
    try:
        link = links.parse_link(struct.pack("=BxHiII", 0, 0, 7, 1, 0) + data)
    except (netlink.Malformed, struct.error):
        return
    assert link.index == 7
    assert link.up


@given(st.lists(st.binary(max_size=64), max_size=6))
def test_messages_of_a_datagram_are_read_back(bodies: list[bytes]) -> None:
    data = b"".join(
        struct.pack("=IHHII", 16 + len(body), 16, 0, number, 9) + body + bytes(-len(body) % 4)
        for number, body in enumerate(bodies)
    )
    found = list(netlink.parse_messages(data))
    assert [(m.sequence, m.port, m.body) for m in found] == [(i, 9, body) for i, body in enumerate(bodies)]


@pytest.mark.parametrize("data", [
    struct.pack("=HH", 3, 1), struct.pack("=HH", 8, 1) + b"abc", struct.pack("=HH", 0, 1), b"\0" * 7
], ids=["shorter than its header", "longer than what is there", "of length zero", "a tail"])
def test_an_attribute_is_refused_that_is(data: bytes) -> None:
    with pytest.raises(netlink.Malformed):
        netlink.parse_attributes(data)


def test_a_payload_that_does_not_fit_is_refused() -> None:
    with pytest.raises(netlink.Malformed):
        netlink.attribute(1, bytes(0x10000))


@pytest.mark.parametrize("flag, number", [("bridge", 0), ("private", 1), ("vepa", 2)])
def test_an_ipvlan_link_is_asked_for_by_parent_mode_and_flag(flag: str, number: int) -> None:
    request = links.add_ipvlan("eth0", 7, ipvlan.MODES["l2"], ipvlan.FLAGS[flag], 9, 1400)
    found = netlink.parse_attributes(request.body[16:])
    info = netlink.parse_attributes(found[18])
    assert (netlink.string_of(found[3]), netlink.string_of(info[1])) == ("eth0", "ipvlan")
    assert [struct.unpack("=I", found[kind]) for kind in (4, 5, 28)] == [(1400,), (7,), (9,)], "MTU, parent, namespace"
    data = netlink.parse_attributes(info[2])
    assert [struct.unpack("=H", data[kind]) for kind in (1, 2)] == [(0,), (number,)], "mode and flags"
