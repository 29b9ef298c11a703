"""What netd can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chassis.config import Settings, option
from chassis.errors import InvalidArgument
from netd.ipam import DEFAULT_POOLS, Pool, parse_subnet, unique_local

DEFAULT_NETWORK: Final = "bridge"


@dataclass(frozen=True)
class NetdSettings(Settings):
    """netd's settings."""

    address_pools: tuple[str, ...] = option(
        (), "pools that networks take their subnets from, each BASE:SIZE such as 10.200.0.0/16:24 or fd00:1::/48:64 "
        "(default: Docker's for IPv4, unique local addresses of the instance's own for IPv6)", live=True)
    default_subnet: str = option("", "subnet of the default network (default: a free one of the pools)")
    spare_namespaces: int = option(4, "network namespaces that are kept ready; 0 makes each when it is asked for")


def pools_of(settings: NetdSettings, seed: str) -> dict[int, tuple[Pool, ...]]:
    """The pools by IP version: the configured ones, and where there are none Docker's, and unique local addresses that
    are ``seed``'s own. InvalidArgument for one that is no BASE:SIZE."""
    given = [_pool(text) for text in settings.address_pools]
    defaults = {4: DEFAULT_POOLS, 6: (unique_local(seed),)}
    return {
        version: tuple(pool for pool in given if pool.base.version == version) or default
        for version, default in defaults.items()
    }


def _pool(text: str) -> Pool:
    base, _, size = text.rpartition(":")
    if not size.isdecimal():
        raise InvalidArgument(f"address_pools: {text!r} is not BASE:SIZE", reason="BAD_CONFIG", field="address_pools",
                              expected="BASE:SIZE, such as 10.200.0.0/16:24")
    return Pool(parse_subnet(base, "address_pools"), int(size))
