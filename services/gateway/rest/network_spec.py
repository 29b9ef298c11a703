"""Docker's request for a network as a NetworkSpec. What netd has no word for is refused by its name."""

from __future__ import annotations

from typing import Final

from google.protobuf import wrappers_pb2

from chassis.errors import InvalidArgument, NotFound, PermissionDenied, Unimplemented
from gateway.rest.body import Fields
from pier.network.v1 import network_pb2 as pb

_PREDEFINED: Final = ("bridge", "default", "host", "none")
_DRIVERS: Final = {"": "bridge", "default": "bridge", "bridge": "bridge", "macvlan": "macvlan",
                   "ipvlan": "ipvlan"}
_ONE_OF_A_KIND: Final = ("host", "null")
_OF_DOCKER: Final = ("overlay",)
_FLAGS: Final = ("ConfigOnly", "Ingress")
ATTACHABLE: Final = "docker.engine.attachable"
"""Extension key of a BoolValue. A swarm's network must be told that containers may join it; all of ours they may."""


def check_name(name: str) -> None:
    """400 for no name, 403 for one of the networks that are always there."""
    if not name.strip():
        raise InvalidArgument("invalid name: name is empty", reason="BAD_ID", field="Name")
    if name in _PREDEFINED:
        raise PermissionDenied(f"operation is not permitted on predefined {name} network", reason="PREDEFINED",
                               field="Name")


def decode(body: Fields) -> pb.NetworkSpec:
    """The specification in the request's ``body``; its name is left to the caller."""
    for key in _FLAGS:
        if body.boolean(key):
            raise _unsupported(key, "false")
    if body.object("ConfigFrom").text("Network"):
        raise _unsupported("ConfigFrom", "none")
    if body.text("Scope") not in ("", "local"):
        raise _unsupported("Scope", "local")
    spec = pb.NetworkSpec(
        driver=_driver(body.text("Driver")), internal=body.boolean("Internal"), pools=_pools(body.object("IPAM")),
        options=body.string_map("Options"), labels=body.string_map("Labels"),
    )
    if body.boolean("Attachable"):
        spec.extensions[ATTACHABLE].Pack(wrappers_pb2.BoolValue(value=True))
    if "EnableIPv4" in body:
        spec.enable_ipv4 = body.boolean("EnableIPv4")
    if "EnableIPv6" in body:
        spec.enable_ipv6 = body.boolean("EnableIPv6")
    return spec


def _driver(name: str) -> str:
    if name in _DRIVERS:
        return _DRIVERS[name]
    if name in _ONE_OF_A_KIND:
        raise PermissionDenied(f'only one instance of "{name}" network is allowed', reason="PREDEFINED", field="Driver")
    if name in _OF_DOCKER:
        raise Unimplemented(f"network driver {name}: not supported yet", reason="NO_DRIVER", field="Driver",
                            expected="bridge")
    raise NotFound(f'plugin "{name}" not found', reason="NO_DRIVER", field="Driver")


def _pools(ipam: Fields) -> list[pb.Pool]:
    if ipam.text("Driver") not in ("", "default"):
        raise _unsupported("IPAM.Driver", "default")
    if ipam.string_map("Options"):
        raise _unsupported("IPAM.Options", "none")
    return [
        pb.Pool(
            subnet=pool.text("Subnet"), range=pool.text("IPRange"), gateway=pool.text("Gateway"),
            auxiliary=pool.string_map("AuxiliaryAddresses"),
        )
        for pool in ipam.objects("Config")
    ]


def _unsupported(field: str, expected: str) -> Unimplemented:
    return Unimplemented(f"network: {field} is not supported yet", reason="NOT_BUILT", field=field, expected=expected)
