"""``pier network create``."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.failure import Failure
from pier_cli.flags import Flag
from pier_cli.specs import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.flags import Options


def _pools(options: Options) -> list[dict[str, Any]]:
    """One entry a subnet; a gateway, range or auxiliary address belongs to the subnet that contains it."""
    if not any(options.items(name) for name in ("gateway", "ip-range", "aux-address")):
        return [{"Subnet": text} for text in options.items("subnet")]  # what is wrong with one, the engine says
    import ipaddress

    try:
        networks = [ipaddress.ip_network(text, strict=False) for text in options.items("subnet")]
        if not networks and options.items("gateway"):
            raise Failure("every ip-range or gateway must have a corresponding subnet")
        pools: list[dict[str, Any]] = [{"Subnet": text} for text in options.items("subnet")]

        def put(name: str, key: str, text: str, first: str, more: str = "") -> None:
            address = ipaddress.ip_address(first)
            for network, pool in zip(networks, pools, strict=True):
                if address in network:
                    if more:
                        pool.setdefault(key, {})[more] = text
                    elif key in pool:
                        raise Failure(f"cannot configure multiple {name} for a subnet")
                    else:
                        pool[key] = text
                    return
            raise Failure(f"no matching subnet for {name.removesuffix('s')} {text}")

        for text in options.items("ip-range"):
            put("ranges", "IPRange", text, text.partition("/")[0])
        for text in options.items("gateway"):
            put("gateways", "Gateway", text, text)
        for name, text in options.items("aux-address"):
            put("aux-addresses", "AuxiliaryAddresses", text, text, name)
    except ValueError as error:
        raise Failure(f"invalid address: {error}") from None
    return pools


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    body: dict[str, Any] = {
        "Name": arguments[0],
        "CheckDuplicate": True,
        "Driver": options.text("driver"),
        "Internal": options.flag("internal"),
        "Attachable": options.flag("attachable"),
        "Options": dict(options.items("opt")),
        "Labels": {key: value for key, _, value in (text.partition("=") for text in options.items("label"))},
        "IPAM": {"Driver": options.text("ipam-driver"), "Options": dict(options.items("ipam-opt")),
                 "Config": _pools(options)},
    }
    for name, key in (("ipv4", "EnableIPv4"), ("ipv6", "EnableIPv6")):
        if options.given(name):
            body[key] = options.flag(name)
    answer = context.engine.call("POST", "/networks/create", (), body)
    if answer.get("Warning"):
        out.error(f"WARNING: {answer['Warning']}")
    out.line(answer["Id"])
    return 0


COMMAND = Command(_run, "[OPTIONS] NETWORK", (
    Flag("attachable", "", "bool", "Enable manual container attachment"),
    Flag("aux-address", "", "map", "Auxiliary IPv4 or IPv6 addresses used by Network driver", check=values.pair),
    Flag("driver", "d", "string", "Driver to manage the Network", "bridge"),
    Flag("gateway", "", "strings", "IPv4 or IPv6 Gateway for the master subnet"),
    Flag("internal", "", "bool", "Restrict external access to the network"),
    Flag("ip-range", "", "strings", "Allocate container ip from a sub-range"),
    Flag("ipam-driver", "", "string", "IP Address Management Driver", "default"),
    Flag("ipam-opt", "", "map", "Set IPAM driver specific options", check=values.pair),
    Flag("ipv4", "", "bool", "Enable or disable IPv4 address assignment", True),
    Flag("ipv6", "", "bool", "Enable or disable IPv6 address assignment"),
    Flag("label", "", "list", "Set metadata on a network", check=values.label),
    Flag("opt", "o", "map", "Set driver specific options"),
    Flag("subnet", "", "strings", "Subnet in CIDR format that represents a network segment"),
), least=1, most=1)
