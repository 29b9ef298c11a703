"""The ipvlan driver: containers are hosts of the network that the *parent* stands in, under the parent's MAC address.

So it goes where a switch, or a cloud, lets one MAC address through. Docker's options: ``parent`` (see sublinks.py);
``ipvlan_mode``, of which ``l2`` is built; ``ipvlan_flag``: in ``bridge`` (the default) containers reach each other, in
``private`` and ``vepa`` not here. A parent has macvlan or ipvlan links, not both, and one flag for all of its own.

Source: <linux/if_link.h>; the kernel's Documentation/networking/ipvlan.rst.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from chassis.errors import Conflict, Unimplemented
from netd import links, sublinks
from netd.netlink import Request
from netd.records import Network
from netd.sublinks import SublinkDriver
from netd.wiring import Wire
from pier.network.v1 import network_pb2

MODE: Final = "ipvlan_mode"
FLAG: Final = "ipvlan_flag"
MODES: Final = {"l2": 0}
_ROUTING: Final = ("l3", "l3s")
FLAGS: Final = {"bridge": 0, "private": 1, "vepa": 2}


def mode_of(spec: network_pb2.NetworkSpec) -> str:
    """InvalidArgument for a mode that is none, Unimplemented for one that is not built."""
    mode = sublinks.one_of(spec, MODE, (*MODES, *_ROUTING), "l2")
    if mode in _ROUTING:
        raise Unimplemented(f"{MODE}: {mode} is not built", field=f"spec.options.{MODE}", expected="l2")
    return mode


def flag_of(spec: network_pb2.NetworkSpec) -> str:
    """InvalidArgument for a flag that is none."""
    return sublinks.one_of(spec, FLAG, FLAGS, "bridge")


class IpvlanDriver(SublinkDriver):
    """As drivers.Driver."""

    name = "ipvlan"

    def validate(self, spec: network_pb2.NetworkSpec) -> Sequence[int]:
        self._shape(spec)
        mode_of(spec)
        flag_of(spec)
        return ()

    @staticmethod
    def _shape(spec: network_pb2.NetworkSpec) -> sublinks.Shape:
        return sublinks.shape(spec, "ipvlan", [MODE, FLAG])

    def prefix(self, spec: network_pb2.NetworkSpec) -> str:
        return self._shape(spec).prefix

    def has_parents_mac(self, spec: network_pb2.NetworkSpec) -> bool:
        return True

    def wire(self, wire: Wire, network: Network) -> Wire:
        return replace(wire, network_link=network.link, mtu=self._shape(network.spec).mtu, mode=mode_of(network.spec),
                       flag=flag_of(network.spec))

    def sublink(self, wire: Wire, parent: int, netns_fd: int) -> Request:
        return links.add_ipvlan(wire.interface, parent, MODES[wire.mode], FLAGS[wire.flag], netns_fd, wire.mtu)

    def refused(self, error: OSError, wire: Wire) -> Exception:
        if error.errno in (errno.EBUSY, errno.EINVAL):
            return Conflict(f"link {wire.network_link} is used in a way that no ipvlan goes with (it has macvlan "
                            "links, or is a port of a bridge, for example)", reason="IN_USE", field="parent")
        return error
