"""Options of an endpoint: its link's name and switches."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidArgument, PierError, Unimplemented
from netd import endpoint_options, requests
from netd.endpoint_options import INTERFACE, SYSCTLS, Sysctl
from pier.network.v1 import network_pb2 as net


def spec(**options: str) -> net.EndpointSpec:
    keys = {"interface": INTERFACE, "sysctls": SYSCTLS}
    return net.EndpointSpec(driver_options={keys.get(name, name): value for name, value in options.items()})


def test_switches_are_read_in_either_spelling_of_ifname() -> None:
    found = endpoint_options.read(spec(sysctls="net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.ifname.mtu=1400"))
    assert found.sysctls == (Sysctl("ipv4", "conf", "log_martians", "1"), Sysctl("ipv6", "conf", "mtu", "1400"))


@pytest.mark.parametrize("text", [
    "net.ipv4.conf.eth0.forwarding=1", "net.core.dev.IFNAME.x=1", "kernel.domainname=x", "net.ipv4.conf.IFNAME.x",
    "net.ipv4.../../x.IFNAME.x=1", "net.ipv4.conf.IFNAME./x=1", "net.ipv4.conf.IFNAME.x=", "net.ipv4.conf.IFNAME.x=1,",
    "net.ipv4.conf.IFNAME.x=a b", "net.ipv4.conf.IFNAME.x=" + "1" * 65, ",".join(["net.ipv4.conf.IFNAME.x=1"] * 65),
])
def test_what_is_no_switch_of_the_link_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        endpoint_options.read(spec(sysctls=text))


@given(st.text(max_size=60))
def test_whatever_is_accepted_stays_below_the_links_own_directories(text: str) -> None:
    try:
        found = endpoint_options.read(spec(sysctls=f"net.ipv4.conf.IFNAME.{text}"))
    except PierError:
        return
    for sysctl in found.sysctls:
        assert "/" not in f"{sysctl.family}{sysctl.group}{sysctl.name}"
        assert "." not in f"{sysctl.family}{sysctl.group}{sysctl.name}"


def test_an_option_that_is_not_built_is_refused_by_name() -> None:
    with pytest.raises(Unimplemented, match=r"com\.example\.nope"):
        endpoint_options.read(spec(**{"com.example.nope": "1"}))


def test_the_links_name_is_read_and_checked_as_one() -> None:
    assert endpoint_options.read(spec(interface="wan0")).interface == "wan0"
    for wrong in ("all", "a/b", "sixteen-letters0"):
        with pytest.raises(InvalidArgument):
            requests.endpoint(spec(interface=wrong))
    both = spec(interface="wan0")
    both.interface = "eth5"
    with pytest.raises(InvalidArgument):
        endpoint_options.read(both)


@pytest.mark.parametrize("has", [True, False])
def test_a_switch_that_the_kernel_lacks_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has: bool) -> None:
    monkeypatch.setattr(endpoint_options, "_PROC", tmp_path)
    switch = tmp_path / "ipv4" / "conf" / "eth0" / "nope"
    if has:
        switch.parent.mkdir(parents=True)
        switch.touch()
        endpoint_options.apply("eth0", [Sysctl("ipv4", "conf", "nope", "1")])
        assert switch.read_text() == "1"
    else:
        with pytest.raises(InvalidArgument, match=r"net\.ipv4\.conf\.IFNAME\.nope=1: this kernel has no such switch"):
            endpoint_options.apply("eth0", [Sysctl("ipv4", "conf", "nope", "1")])
