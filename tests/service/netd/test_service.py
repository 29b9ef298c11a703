"""netd over gRPC: sandboxes, endpoints, ports, names, with the real kernel."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from chassis.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PierError,
    Unimplemented,
)
from netd import links, netns
from pier.network.v1 import network_pb2 as net
from pier.system.v1 import system_pb2
from pier.types.v1 import types_pb2
from tests import world
from tests.service.netd.engine import Netd, container, run, tcp
from tests.service.netd.packets import PATIENCE_SECONDS, attempt, in_namespace, listener, on_host, reach

OUTSIDE = in_namespace(world.OUTSIDE)


def path_of(sandbox: net.Sandbox) -> Path:
    return Path(os.fsdecode(sandbox.netns_path))


async def reached(*arguments: Any, **named: Any) -> str | None:
    """``reach`` on a thread, so that the channel to netd goes on."""
    return await asyncio.to_thread(reach, *arguments, **named)


async def attempted(*arguments: Any, **named: Any) -> str | None:
    """``attempt`` on a thread."""
    return await asyncio.to_thread(attempt, *arguments, **named)


async def test_an_attached_sandbox_has_an_address_a_route_and_a_way_out(netd: Netd) -> None:
    sandbox = await netd.create(1)
    endpoint = await netd.attach(1)
    network = await netd.network()
    assert endpoint.interface == "eth0"
    assert endpoint.gateway_ipv4 == network.spec.pools[0].gateway
    assert network.endpoint_count == 1
    inside = in_namespace(path_of(sandbox))
    with listener(OUTSIDE, world.FAR, 7001) as server:
        assert await reached(inside, world.FAR, 7001, server) == world.ADDRESS
    with listener(on_host, endpoint.gateway_ipv4, 7002) as server:
        assert await reached(inside, endpoint.gateway_ipv4, 7002, server) == endpoint.ipv4.partition("/")[0]
    with netns.enter(path_of(sandbox)) as sock:
        eth0 = links.link(sock, "eth0")
        assert eth0.mac == endpoint.mac
        assert container(1) in links.link(sock, "lo").alias, "the namespace carries its owner"
    assert path_of(sandbox).name == container(1)


async def test_the_same_call_again_answers_the_same(netd: Netd) -> None:
    assert await netd.create(1, hostname="a") == await netd.create(1, hostname="a")
    with pytest.raises(AlreadyExists):
        await netd.create(1, hostname="b")
    first = await netd.attach(1, ports=[tcp(0)])
    assert await netd.attach(1, ports=[tcp(0)]) == first
    with pytest.raises(AlreadyExists):
        await netd.attach(1, ports=[tcp(0), tcp(0)])
    await netd.detach(1)
    await netd.detach(1)
    await netd.remove(1)
    await netd.remove(1)
    with pytest.raises(NotFound):
        await netd.attach(1)


async def test_the_same_call_at_the_same_time_is_joined(netd: Netd) -> None:
    answers = await asyncio.gather(*(netd.create(1) for _ in range(8)))
    assert all(answer == answers[0] for answer in answers)
    endpoints = await asyncio.gather(*(netd.attach(1) for _ in range(8)))
    assert all(endpoint == endpoints[0] for endpoint in endpoints)


async def test_a_client_that_goes_away_does_not_stop_its_call(netd: Netd) -> None:
    call = netd.stub.CreateSandbox(netd.create_request(1))
    await call.wait_for_connection()
    call.cancel()
    assert (await netd.create(1)).id == container(1)
    assert len(await netd.sandboxes()) == 1
    assert await netd.fsck() == []


async def test_an_address_that_was_asked_for_is_given_once(netd: Netd) -> None:
    gateway = (await netd.network()).spec.pools[0].gateway
    wanted = gateway.rsplit(".", 1)[0] + ".77"
    await netd.create(1)
    await netd.create(2)
    assert (await netd.attach(1, ipv4=wanted)).ipv4.startswith(wanted + "/")
    with pytest.raises(Conflict, match="already in use"):
        await netd.attach(2, ipv4=wanted)
    with pytest.raises(InvalidArgument):
        await netd.attach(2, ipv4="8.8.8.8")
    await netd.remove(1)
    assert (await netd.attach(2, ipv4=wanted)).ipv4.startswith(wanted + "/")


async def test_none_has_loopback_alone_and_host_has_no_namespace(netd: Netd) -> None:
    alone = await netd.create(1)
    assert (await netd.attach(1, "none")).interface == ""
    with netns.enter(path_of(alone)) as sock:
        assert [(link.name, link.up) for link in links.all_links(sock)] == [("lo", True)]
    with pytest.raises(Conflict):
        await netd.attach(1, "bridge")
    host = await netd.create(2, host=True)
    assert host.netns_path == b""
    assert (await netd.attach(2, "host")).ipv4 == ""
    with pytest.raises(Conflict):
        await netd.attach(2, "bridge")
    await netd.create(3, host=True)
    with pytest.raises(InvalidArgument):
        await netd.attach(3, "host", ports=[tcp(0)])


async def test_a_sandbox_is_made_and_joined_in_one_call_with_its_files(netd: Netd) -> None:
    await netd.create_network(7, "blue")
    attachments = [net.Attachment(network="bridge", ports=[tcp(18080)]), net.Attachment(network="blue")]
    request = netd.create_request(1, hostname="web", attachments=attachments)
    answer = await netd.peer.call(netd.stub.CreateSandbox, request)
    first, second = answer.sandbox.endpoints
    assert (first.interface, second.interface, first.ports[0].host_port) == ("eth0", "eth1", 18080)
    for endpoint in (first, second):
        assert f"{endpoint.ipv4.partition('/')[0]}\tweb" in answer.files.hosts.decode().splitlines()
    assert await netd.peer.call(netd.stub.CreateSandbox, request) == answer, "again"
    assert await netd.fsck() == []
    await netd.detach(1, "blue")
    again = await netd.peer.call(netd.stub.CreateSandbox, request)
    assert [endpoint.network_name for endpoint in again.sandbox.endpoints] == ["bridge", "blue"], "what lacks is joined"


@pytest.mark.parametrize("attachment, expected", [
    (net.Attachment(network="bridge", ports=[tcp(18081)]), "already allocated"),
    (net.Attachment(network="nope"), "not found"),
    (net.Attachment(network="blue"), "already attached"),
    (net.Attachment(network="host"), "cannot be attached"),
])
async def test_a_sandbox_that_cannot_be_joined_to_all_its_networks_is_not_made(
    netd: Netd, attachment: net.Attachment, expected: str
) -> None:
    await netd.create_network(7, "blue")
    await netd.create(2)
    await netd.attach(2, ports=[tcp(18081)])
    blue = net.Attachment(network="blue", ports=[tcp(18082)], spec=net.EndpointSpec(mac="02:42:00:00:00:01"))
    before = netd.counts()
    with pytest.raises(PierError, match=expected):
        await netd.create(1, attachments=[blue, attachment])
    assert [sandbox.id for sandbox in await netd.sandboxes()] == [container(2)]
    await netd.settled_but_recorded()
    assert netd.counts() == before
    await netd.attach(2, "blue", ports=[tcp(18082)])
    assert await netd.fsck() == []


async def test_names_are_rendered_for_the_sandbox_as_it_is_attached(netd: Netd) -> None:
    await netd.create(1, hostname="web", domainname="example.org", extra_hosts=["db:10.1.2.3", "h:host-gateway"],
                      dns_search=["corp"])
    endpoint = await netd.attach(1)
    answer = await netd.peer.call(netd.stub.RenderFiles, net.RenderFilesRequest(sandbox_id=container(1)))
    rendered = answer.files
    assert rendered.hostname == b"web\n"
    lines = rendered.hosts.decode().splitlines()
    assert "127.0.0.1\tlocalhost" in lines
    assert f"{endpoint.ipv4.partition('/')[0]}\tweb.example.org web" in lines
    assert "10.1.2.3\tdb" in lines
    assert f"{endpoint.gateway_ipv4}\th" in lines
    assert rendered.resolv_conf.decode().splitlines() == [f"nameserver {world.NAMESERVER}", "search corp"]


@pytest.mark.parametrize("fields", [
    {"hostname": "a\nb"}, {"extra_hosts": ["x\ty:1.2.3.4"]}, {"extra_hosts": ["x:1.2.3.4\n5.6.7.8 evil"]},
    {"dns": ["1.2.3.4 evil"]}, {"dns_search": ["a b"]}, {"dns_options": ["a\nb"]}, {"domainname": "-"},
], ids=str)
async def test_75_a_name_cannot_write_a_line_of_its_own(netd: Netd, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        await netd.create(1, **fields)


@pytest.mark.parametrize("bad", ["", "x", "../" * 21 + "x", "A" * 64, "0" * 63, "0" * 65])
async def test_46_an_id_of_another_shape_is_refused(netd: Netd, bad: str) -> None:
    owner = types_pb2.Owner(manager="test", namespace="docker", id="x")
    for method, request in (
        (netd.stub.CreateSandbox, net.CreateSandboxRequest(id=bad, owner=owner)),
        (netd.stub.RemoveSandbox, net.RemoveSandboxRequest(id=bad)),
        (netd.stub.Attach, net.AttachRequest(sandbox_id=bad)),
        (netd.stub.Detach, net.DetachRequest(sandbox_id=bad, network="bridge")),
        (netd.stub.GetSandbox, net.GetSandboxRequest(id=bad)),
        (netd.stub.CreateNetwork, net.CreateNetworkRequest(id=bad, name="nn", owner=owner)),
    ):
        with pytest.raises(InvalidArgument):
            await netd.peer.call(method, request)


async def test_what_is_not_built_is_refused_by_name(netd: Netd) -> None:
    await netd.create(1)
    with pytest.raises(Unimplemented):
        await netd.attach(1, driver_options={"a": "b"})
    with pytest.raises(Unimplemented):
        await netd.attach(1, ports=[tcp(0, "::1")])
    for wrong in ({"driver": "overlay"}, {"driver": "bridge", "options": {"com.docker.network.bridge.name9": "br9"}}):
        request = net.CreateNetworkRequest(
            id=container(9), name="nn", spec=net.NetworkSpec(**wrong),
            owner=types_pb2.Owner(manager="test", namespace="docker", id="nn"),
        )
        with pytest.raises(Unimplemented):
            await netd.peer.call(netd.stub.CreateNetwork, request)
    assert await netd.fsck() == []


async def test_a_network_of_a_client_is_apart_from_the_others_and_goes_when_it_is_empty(netd: Netd) -> None:
    network = await netd.create_network(7, "blue")
    assert network == await netd.create_network(7, "blue")
    with pytest.raises(AlreadyExists):
        await netd.create_network(8, "blue")
    one, two = await netd.create(1), await netd.create(2)
    await netd.attach(1)
    endpoint = await netd.attach(2, "blue")
    with listener(in_namespace(path_of(two)), "0.0.0.0", 80) as server:
        address = endpoint.ipv4.partition("/")[0]
        assert await attempted(in_namespace(path_of(one)), address, 80, server) is None
        second = await netd.attach(1, "blue")
        assert second.interface == "eth1"
        assert await reached(in_namespace(path_of(one)), address, 80, server) is not None
    with pytest.raises(Conflict) as caught:
        await netd.remove_network("blue")
    assert caught.value.reason == "IN_USE"
    await netd.detach(1, "blue")
    await netd.remove(2)
    await netd.remove_network("blue")
    await netd.remove_network("blue")
    assert not Path(f"/sys/class/net/{network.link}").exists()
    with pytest.raises(PermissionDenied):
        await netd.remove_network("bridge")
    assert await netd.fsck() == []


async def test_the_default_route_moves_to_what_is_left(netd: Netd) -> None:
    await netd.create_network(7, "blue")
    sandbox = await netd.create(1)
    bridge = await netd.attach(1)
    blue = await netd.attach(1, "blue", gateway_priority=5)
    with netns.enter(path_of(sandbox)) as sock:
        def gateway() -> str:
            return next(str(route.gateway) for route in links.routes(sock) if route.destination.prefixlen == 0)

        assert gateway() == blue.gateway_ipv4
        await netd.detach(1, "blue")
        assert gateway() == bridge.gateway_ipv4


async def test_containers_of_a_network_without_icc_do_not_reach_each_other(netd: Netd) -> None:
    await netd.create_network(7, "quiet", options={"com.docker.network.bridge.enable_icc": "false"})
    one, two = await netd.create(1), await netd.create(2)
    await netd.attach(1, "quiet")
    endpoint = await netd.attach(2, "quiet")
    with listener(in_namespace(path_of(two)), "0.0.0.0", 80) as server:
        address = endpoint.ipv4.partition("/")[0]
        assert await attempted(in_namespace(path_of(one)), address, 80, server) is None
        assert await reached(on_host, address, 80, server) is not None


async def test_65_a_flushed_ruleset_is_repaired_by_itself(netd: Netd, free_port: int) -> None:
    sandbox = await netd.create(1)
    await netd.attach(1, ports=[tcp(free_port)])
    for _ in range(3):
        run("nft", "flush ruleset")
        with listener(in_namespace(path_of(sandbox)), "0.0.0.0", 80) as server:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await attempted(OUTSIDE, world.ADDRESS, free_port, server) is None:
                    pass
    # Alone behind every verb and repair: what Fsck finds afterwards is nothing.
    assert await netd.fsck() == []
    await netd.attach(1, ports=[tcp(free_port)])


async def test_events_tell_of_connections_in_order(netd: Netd) -> None:
    await netd.create(1)
    await netd.attach(1)
    await netd.remove(1)
    selector = types_pb2.EventSelector(after=types_pb2.Cursor(sequence=0))
    selector.until.GetCurrentTime()
    seen = [
        (answer.event.action, answer.event.attributes.get("container", ""))
        async for answer in netd.peer.stream(netd.stub.Events, net.EventsRequest(selector=selector))
    ]
    assert seen[-2:] == [("connect", container(1)), ("disconnect", container(1))]


async def test_lists_are_paged(netd: Netd) -> None:
    for number in range(5):
        await netd.create(number)
    seen: list[str] = []
    token = ""
    while True:
        page = await netd.peer.call(netd.stub.ListSandboxes, net.ListSandboxesRequest(page_size=2, page_token=token))
        seen += [sandbox.id for sandbox in page.sandboxes]
        token = page.next_page_token
        if not token:
            break
    assert seen == [container(number) for number in range(5)]


async def test_fsck_finds_and_repairs_what_others_took_away_or_left(netd: Netd, free_port: int) -> None:
    await netd.create(1)
    endpoint = await netd.attach(1, ports=[tcp(free_port)])
    link = netd.instance.endpoint_link(endpoint.id)
    bridge = (await netd.network()).link
    run("ip", "link", "set", link, "nomaster")
    run("ip", "link", "add", "stray0", "type", "veth", "peer", "name", "stray1")
    run("ip", "link", "set", "stray0", "alias", f"{netd.instance.nft_table} endpoint {'0' * 64} a/b/c")
    stray, sock = netns.make(netd.instance.runtime("netd") / "ns")
    sock.close()
    Path(f"/proc/sys/net/ipv4/conf/{bridge}/forwarding").write_text("0")
    found = await netd.fsck()
    assert {finding.reason for finding in found} == {
        "ENDPOINT_WITHOUT_LINK", "LINK_WITHOUT_RECORD", "NETNS_WITHOUT_RECORD", "BRIDGE_SEALED"
    }
    repaired = await netd.fsck(repair=True)
    assert all(finding.repaired for finding in repaired)
    assert await netd.fsck() == []
    assert not stray.path.exists()
    assert not Path("/sys/class/net/stray0").exists()


async def test_the_bridge_itself_comes_back_with_its_endpoints(netd: Netd, free_port: int) -> None:
    sandbox = await netd.create(1)
    await netd.attach(1, ports=[tcp(free_port)])
    run("ip", "link", "del", (await netd.network()).link)
    reasons = [finding.reason for finding in await netd.fsck(repair=True)]
    assert "NETWORK_WITHOUT_LINK" in reasons
    left: list[system_pb2.Finding] = await netd.fsck(repair=True)
    assert await netd.fsck() == [], left
    with listener(in_namespace(path_of(sandbox)), "0.0.0.0", 80) as server:
        assert await reached(OUTSIDE, world.ADDRESS, free_port, server) == world.GATEWAY
