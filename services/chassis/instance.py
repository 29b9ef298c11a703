"""What an instance's name decides: directories, sockets, cgroup, link and table names, addresses, metrics ports.

Several engines run side by side on one host, each with a name of its own; everything that could collide is derived
here and nowhere else. The default instance, ``pier``, has the plain names (`/run/pier`, `br-pier`); another has its
name in each (`/run/pier-NAME`). Only the standard library is imported: the zygote and the shim use this too.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chassis.errors import InvalidArgument

DEFAULT: Final = "pier"
SERVICES: Final = ("gateway", "imaged", "netd", "execd", "buildd")
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,14}")
_FIRST_METRICS_PORT: Final = 9470


@dataclass(frozen=True)
class Instance:
    """One engine on this host. ``root`` keeps state over reboots, ``run`` does not (sockets, pids, pinned netns)."""

    name: str
    root: Path
    run: Path

    @property
    def is_default(self) -> bool:
        return self.name == DEFAULT

    @property
    def suffix(self) -> str:
        """Six characters for names with little room, such as links' (15 bytes): unique on this host for practical
        purposes, "" for the default instance."""
        return "" if self.is_default else hashlib.sha256(self.name.encode()).hexdigest()[:6]

    @property
    def cgroup_parent(self) -> str:
        """Path of the instance's cgroup below each hierarchy's mount, without a leading slash."""
        return "pier" if self.is_default else f"pier-{self.name}"

    @property
    def bridge(self) -> str:
        """Name of the default network's bridge link."""
        return "pier0" if self.is_default else f"pier{self.suffix}"

    @property
    def nft_table(self) -> str:
        """Name of the instance's nft table, in each family that it uses."""
        return "pier" if self.is_default else f"pier-{self.name}"

    @property
    def link_prefix(self) -> str:
        """Prefix of the instance's host-side veth names; at most 8 characters, so that 7 remain."""
        return "pv" if self.is_default else f"pv{self.suffix}"

    def network_link(self, network_id: str) -> str:
        """Name of the bridge link of a network that a client made."""
        return f"{self.link_prefix}n{network_id[:6]}"

    def endpoint_link(self, endpoint_id: str) -> str:
        """Name of the host-side veth of an endpoint; all its digits are hexadecimal, so it is no network's."""
        return f"{self.link_prefix}{endpoint_id[:7]}"

    def socket(self, service: str) -> Path:
        """The gRPC socket of a service (mode 0600)."""
        return self.run / f"{service}.sock"

    @property
    def api_socket(self) -> Path:
        """The Engine API socket (mode 0660)."""
        return self.run / "pier.sock"

    @property
    def engine_socket(self) -> Path:
        """The socket of pier.engine.v1 (mode 0660)."""
        return self.run / "engine.sock"

    @property
    def zygote_socket(self) -> Path:
        return self.run / "zygote.sock"

    @property
    def resolver_socket(self) -> Path:
        return self.run / "resolver.sock"

    @property
    def pours(self) -> Path:
        """Where the gateway offers bytes that go beside gRPC (mode 0700; see ``chassis.pours``)."""
        return self.run / "pours"

    @property
    def resolver_counters(self) -> Path:
        """What the resolver has done, for netd's metrics."""
        return self.run / "resolver.counters"

    def state(self, service: str) -> Path:
        """A service's own state directory below root (mode 0700)."""
        return self.root / service

    def runtime(self, service: str) -> Path:
        """A service's own run directory below run (mode 0700)."""
        return self.run / service

    def metrics_port(self, service: str) -> int:
        """Loopback TCP port of a service's /metrics: 9470 to 9474 for the default instance.

        Another instance's ports come from its name's hash, ten apart; a collision is told by the bind's error and
        ended by setting ``metrics_port``.
        """
        base = _FIRST_METRICS_PORT
        if not self.is_default:
            base = 20000 + int(hashlib.sha256(self.name.encode()).hexdigest()[:6], 16) % 1000 * 10
        return base + SERVICES.index(service)


def instance(name: str = DEFAULT, root: Path | None = None, run: Path | None = None) -> Instance:
    """The instance called ``name``: a lower-case word of 15 characters at most, letters, digits and '-'.

    ``root`` and ``run`` replace the derived directories (/var/lib/pier…, /run/pier…).
    """
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"instance: {name!r} is not a lower-case word of at most 15 letters, digits and '-'",
            reason="BAD_ID", field="instance", expected="[a-z][a-z0-9-]{0,14}",
        )
    plain = "pier" if name == DEFAULT else f"pier-{name}"
    return Instance(name=name, root=root or Path("/var/lib") / plain, run=run or Path("/run") / plain)


def make_private(directory: Path) -> None:
    """Make ``directory`` and see that it is mode 0700: what was wider is narrowed."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(directory, 0o700)
