"""What netd can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chassis.config import Settings, option
from chassis.errors import InvalidArgument
from netd.ipam import DEFAULT_POOLS, Pool, parse_subnet

DEFAULT_NETWORK: Final = "bridge"


@dataclass(frozen=True)
class NetdSettings(Settings):
    """netd's settings."""

    address_pools: tuple[str, ...] = option(
        (), "pools that networks take their subnets from, each BASE:SIZE such as 10.200.0.0/16:24 (default: Docker's)"
    )
    default_subnet: str = option("", "subnet of the default network (default: a free one of the pools)")
    spare_namespaces: int = option(4, "network namespaces that are kept ready; 0 makes each when it is asked for")


def pools_of(settings: NetdSettings) -> tuple[Pool, ...]:
    """The configured pools. InvalidArgument for one that is no BASE:SIZE."""
    return tuple(map(_pool, settings.address_pools)) or DEFAULT_POOLS


def _pool(text: str) -> Pool:
    base, _, size = text.rpartition(":")
    if not size.isdecimal():
        raise InvalidArgument(f"address_pools: {text!r} is not BASE:SIZE", reason="BAD_CONFIG", field="address_pools",
                              expected="BASE:SIZE, such as 10.200.0.0/16:24")
    return Pool(parse_subnet(base, "address_pools"), int(size))
