"""Docker's request for a network, and what a network looks like in its answers."""

import pytest

from chassis.errors import InvalidArgument, NotFound, PermissionDenied, Unimplemented
from gateway.rest import network_json, network_spec, networks
from gateway.rest.body import Fields
from gateway.rest.filters import Filters
from gateway.rest.versions import Version
from pier.network.v1 import network_pb2 as pb

ID = "ab" * 32


def network(**values):
    spec = pb.NetworkSpec(driver="bridge", labels={"k": "v"}, pools=[pb.Pool(subnet="10.1.0.0/16", gateway="10.1.0.1")])
    return pb.Network(**{"id": ID, "name": "web", "spec": spec, **values})


def test_a_request_as_compose_sends_it_is_a_bridge():
    spec = network_spec.decode(Fields({
        "Name": "n", "CheckDuplicate": True, "Driver": "bridge", "Scope": "", "EnableIPv6": False, "IPAM": None,
        "Internal": False, "Attachable": False, "Ingress": False, "ConfigOnly": False, "ConfigFrom": None,
        "Options": None, "Labels": {"com.docker.compose.network": "default"},
    }))
    assert spec.driver == "bridge"
    assert dict(spec.labels) == {"com.docker.compose.network": "default"}
    assert not spec.HasField("enable_ipv4")


def test_pools_and_options_are_handed_on():
    spec = network_spec.decode(Fields({
        "IPAM": {"Driver": "default", "Config": [
            {"Subnet": "10.2.0.0/24", "Gateway": "10.2.0.1", "IPRange": "10.2.0.0/25",
             "AuxiliaryAddresses": {"a": "10.2.0.9"}},
        ]},
        "Options": {"com.docker.network.driver.mtu": "1400"}, "Internal": True, "EnableIPv4": True,
    }))
    assert spec.pools[0] == pb.Pool(
        subnet="10.2.0.0/24", gateway="10.2.0.1", range="10.2.0.0/25", auxiliary={"a": "10.2.0.9"})
    assert (spec.internal, spec.enable_ipv4) == (True, True)


@pytest.mark.parametrize("body", [
    {"Ingress": True}, {"ConfigOnly": True}, {"ConfigFrom": {"Network": "x"}}, {"Scope": "swarm"},
    {"IPAM": {"Driver": "dhcp"}}, {"IPAM": {"Options": {"a": "b"}}}, {"Driver": "overlay"},
])
def test_what_is_not_built_is_refused_by_its_name(body):
    with pytest.raises(Unimplemented, match=next(iter(body)).replace("Driver", "driver")):
        network_spec.decode(Fields(body))


@pytest.mark.parametrize("name", ["host", "null"])
def test_of_the_networks_without_links_there_is_one_each(name):
    with pytest.raises(PermissionDenied, match=f'only one instance of "{name}" network is allowed'):
        network_spec.decode(Fields({"Driver": name}))


def test_an_unknown_driver_is_a_plugin_that_is_not_there():
    with pytest.raises(NotFound, match='plugin "nope" not found'):
        network_spec.decode(Fields({"Driver": "nope"}))


@pytest.mark.parametrize("name", ["bridge", "host", "none", "default"])
def test_predefined_names_are_forbidden(name):
    with pytest.raises(PermissionDenied, match=f"operation is not permitted on predefined {name} network"):
        network_spec.check_name(name)


def test_a_network_needs_a_name():
    with pytest.raises(InvalidArgument, match="name is empty"):
        network_spec.check_name("")


def test_a_network_is_shown_with_its_subnet_and_no_nulls_for_maps():
    made = network_json.summary(network())
    assert made["IPAM"]["Config"] == [{"Subnet": "10.1.0.0/16", "Gateway": "10.1.0.1"}]
    assert (made["Containers"], made["Options"], made["Labels"]) == ({}, {}, {"k": "v"})
    assert (made["EnableIPv4"], made["Scope"]) == (True, "local")


def test_the_network_none_has_dockers_driver():
    assert network_json.summary(pb.Network(name="none", spec=pb.NetworkSpec(driver="none")))["Driver"] == "null"


def test_an_inspect_names_the_containers():
    endpoint = pb.Endpoint(id="e", sandbox_id="c", mac="02:42:0a:01:00:02", ipv4="10.1.0.2/16")
    found = pb.GetNetworkResponse(network=network(), endpoints=[endpoint])
    made = network_json.inspected(found, {"c": "web-1"}, Version(1, 51))
    assert made["Containers"]["c"] == {
        "Name": "web-1", "EndpointID": "e", "MacAddress": "02:42:0a:01:00:02", "IPv4Address": "10.1.0.2/16",
        "IPv6Address": "",
    }


def test_an_inspect_tells_since_1_52_how_full_each_subnet_is():
    most = (1 << 64) - 1
    found = pb.GetNetworkResponse(network=network(), usage=[
        pb.SubnetUsage(subnet="10.1.0.0/16", in_use=3, available=65533),
        pb.SubnetUsage(subnet="fd00::/48", in_use=2, available=most),
    ])
    assert "Status" not in network_json.inspected(found, {}, Version(1, 51))
    assert network_json.inspected(found, {}, Version(1, 52))["Status"] == {"IPAM": {"Subnets": {
        "10.1.0.0/16": {"IPsInUse": 3, "DynamicIPsAvailable": 65533},
        "fd00::/48": {"IPsInUse": 2, "DynamicIPsAvailable": most},
    }}}


@pytest.mark.parametrize(
    "filters,passes",
    [
        ({}, True), ({"name": ("we",)}, True), ({"name": ("^w$",)}, False), ({"id": (ID[:5],)}, True),
        ({"driver": ("bridge", "null")}, True), ({"driver": ("null",)}, False), ({"type": ("custom",)}, True),
        ({"type": ("builtin",)}, False), ({"label": ("k=v",)}, True), ({"label": ("k=w",)}, False),
        ({"scope": ("swarm",)}, False), ({"dangling": ("true",)}, True), ({"dangling": ("false",)}, False),
    ],
)
def test_filters_are_anded(filters, passes):
    assert networks.passes(network(), Filters(filters)) is passes


def test_an_unknown_type_is_refused():
    with pytest.raises(InvalidArgument, match="invalid filter"):
        networks.passes(network(), Filters({"type": ("odd",)}))
