"""The macvlan driver: containers are hosts of the network that a link of this host, the *parent*, stands in.

Each has a MAC address of its own there; netd leads, translates and publishes nothing. Docker's options: ``parent`` (see
sublinks.py); ``macvlan_mode``: in ``bridge`` (the default) containers reach each other, in ``private`` and ``vepa`` not
here, ``passthru`` gives the parent to one container alone.

Source: <linux/if_link.h>; IEEE 802.1Qbg for vepa.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from chassis.errors import Conflict
from netd import links, sublinks
from netd.netlink import Request
from netd.records import Network
from netd.sublinks import SublinkDriver
from netd.wiring import Wire
from pier.network.v1 import network_pb2

MODE: Final = "macvlan_mode"
PASSTHRU: Final = "passthru"
MODES: Final = {"private": 1, "vepa": 2, "bridge": 4, PASSTHRU: 8}


def mode_of(spec: network_pb2.NetworkSpec) -> str:
    """InvalidArgument for a mode that is none."""
    return sublinks.one_of(spec, MODE, MODES, "bridge")


class MacvlanDriver(SublinkDriver):
    """As drivers.Driver."""

    name = "macvlan"

    def validate(self, spec: network_pb2.NetworkSpec) -> Sequence[int]:
        self._shape(spec)
        mode_of(spec)
        return ()

    @staticmethod
    def _shape(spec: network_pb2.NetworkSpec) -> sublinks.Shape:
        return sublinks.shape(spec, "macvlan", [MODE])

    def prefix(self, spec: network_pb2.NetworkSpec) -> str:
        return self._shape(spec).prefix

    def has_parents_mac(self, spec: network_pb2.NetworkSpec) -> bool:
        return mode_of(spec) == PASSTHRU

    def wire(self, wire: Wire, network: Network) -> Wire:
        return replace(wire, network_link=network.link, mtu=self._shape(network.spec).mtu, mode=mode_of(network.spec))

    def sublink(self, wire: Wire, parent: int, netns_fd: int) -> Request:
        mac = "" if wire.mode == PASSTHRU else wire.mac
        return links.add_macvlan(wire.interface, parent, MODES[wire.mode], netns_fd, mac, wire.mtu)

    def refused(self, error: OSError, wire: Wire) -> Exception:
        if error.errno in (errno.EBUSY, errno.EINVAL) and wire.mode == PASSTHRU:
            return Conflict(f"parent {wire.network_link} is given to another container already", reason="IN_USE",
                            field="network")
        if error.errno == errno.EBUSY:
            return Conflict(f"link {wire.network_link} is used in a way that no macvlan goes with (as a port of a "
                            "bridge, for example)", reason="IN_USE", field="parent")
        return error
