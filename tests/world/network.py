"""A world's network: its own namespace, that of the outside host, and the wire between them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from chassis import kernel
from tests.world import ADDRESS, ADDRESS6, FAR, GATEWAY, GATEWAY6, NAMESERVER, OUTSIDE


def make_namespaces() -> int:
    """Put the calling process into a new network namespace; a descriptor of a second one, the outside host's."""
    kernel.unshare(kernel.CLONE_NEWNET)
    outside = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    kernel.unshare(kernel.CLONE_NEWNET)
    return outside


def connect(outside: int) -> None:
    """Pin ``outside`` under its name, lay the wire, give addresses and routes; forwarding is off on both sides."""
    OUTSIDE.parent.mkdir(parents=True)
    OUTSIDE.touch()
    kernel.mount(f"/proc/self/fd/{outside}".encode(), os.fsencode(OUTSIDE), None, kernel.MS_BIND)
    os.close(outside)
    # A new namespace takes its IPv4 settings from the host's, which may forward.
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
    _ip(f"""
        link set lo up
        link add eth0 type veth peer name world0 netns {OUTSIDE.name}
        address add {ADDRESS}/24 dev eth0
        address add {ADDRESS6}/64 dev eth0 nodad
        link set eth0 up
    """)
    _ip(f"""
        link set lo up
        address add {FAR}/32 dev lo
        address add {NAMESERVER}/32 dev lo
        address add {GATEWAY}/24 dev world0
        address add {GATEWAY6}/64 dev world0 nodad
        link set world0 up
    """, "-n", OUTSIDE.name)
    _ip(f"""
        route add default via {GATEWAY}
        -6 route add default via {GATEWAY6}
    """)


def _ip(commands: str, *options: str) -> None:
    for line in commands.strip().splitlines():
        subprocess.run(["ip", *options, *line.split()], check=True)
