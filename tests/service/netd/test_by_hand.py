"""What somebody does by hand behind netd's back: links deleted, pins removed, the ruleset flushed under traffic."""

from __future__ import annotations

import asyncio
import socket

from netd import netns
from tests import world
from tests.service.netd.engine import Netd, links_gone, run, tcp
from tests.service.netd.packets import PATIENCE_SECONDS, in_namespace, listener
from tests.service.netd.test_service import OUTSIDE, path_of, reached


async def test_a_deleted_link_is_made_anew_with_the_same_addresses(netd: Netd, free_port: int) -> None:
    made = await netd.create(1)
    endpoint = await netd.attach(1, ports=[tcp(free_port)])
    run("ip", "link", "del", netd.instance.endpoint_link(endpoint.id))
    (found,) = await netd.fsck(repair=True)
    assert (found.reason, found.repaired) == ("ENDPOINT_WITHOUT_LINK", True)
    assert await netd.fsck() == []
    with listener(in_namespace(path_of(made)), "0.0.0.0", 80) as server:
        assert await reached(OUTSIDE, world.ADDRESS, free_port, server) == world.GATEWAY


async def test_a_deleted_link_stands_in_the_way_of_no_verb(netd: Netd, free_port: int) -> None:
    await netd.create_network(7, "blue")
    await netd.create(1)
    for name in ("bridge", "blue"):
        endpoint = await netd.attach(1, name)
        run("ip", "link", "del", netd.instance.endpoint_link(endpoint.id))
    await netd.detach(1, "blue")
    await netd.remove(1)
    assert await netd.fsck() == []
    await netd.remove_network("blue")


async def test_a_sandbox_whose_pin_was_removed_is_given_up_when_nothing_lives_in_it(
    netd: Netd, free_port: int
) -> None:
    made = await netd.create(1)
    endpoint = await netd.attach(1, ports=[tcp(free_port)])
    netns.unpin(path_of(made))
    await asyncio.to_thread(links_gone, netd.instance.endpoint_link(endpoint.id))
    (found, *_) = await netd.fsck(repair=True)
    assert (found.reason, found.repaired) == ("SANDBOX_WITHOUT_NETNS", True)
    assert await netd.fsck() == []
    assert await netd.sandboxes() == []
    await netd.create(1)
    assert (await netd.attach(1, ports=[tcp(free_port)])).ports[0].host_port == free_port


async def test_a_sandbox_that_was_lost_while_netd_was_dead_is_given_up_by_the_next_one(
    netd: Netd, free_port: int
) -> None:
    made = await netd.create(1)
    endpoint = await netd.attach(1, ports=[tcp(free_port)])
    await netd.kill()
    netns.unpin(path_of(made))
    await asyncio.to_thread(links_gone, netd.instance.endpoint_link(endpoint.id))
    await netd.start()
    assert await netd.fsck() == []
    assert await netd.sandboxes() == []
    await netd.create(1)
    assert (await netd.attach(1, ports=[tcp(free_port)])).ports[0].host_port == free_port


async def test_a_sandbox_whose_pin_was_removed_goes_on_for_who_lives_in_it_and_can_be_removed(
    netd: Netd, free_port: int
) -> None:
    made = await netd.create(1)
    await netd.attach(1, ports=[tcp(free_port)])
    with listener(in_namespace(path_of(made)), "0.0.0.0", 80) as server:
        netns.unpin(path_of(made))
        (found,) = await netd.fsck(repair=True)
        assert (found.reason, found.repaired) == ("SANDBOX_WITHOUT_NETNS", False)
        assert "something lives in it" in found.message
        await netd.kill()
        await netd.start()
        assert await reached(OUTSIDE, world.ADDRESS, free_port, server) == world.GATEWAY
        await netd.remove(1)
        assert (await netd.network()).endpoint_count == 0
        await netd.settled()
        assert await netd.fsck() == []


async def test_connections_that_are_silent_while_the_ruleset_is_flushed_go_on(netd: Netd, free_port: int) -> None:
    """What one says in the moment until the repair meets no translation, and is answered by the host with a reset."""
    made = await netd.create(1)
    await netd.attach(1, ports=[tcp(free_port)])
    with in_namespace(path_of(made))(socket.SOCK_STREAM) as server, OUTSIDE(socket.SOCK_STREAM) as client:
        server.bind(("0.0.0.0", 80))
        server.listen()
        client.settimeout(PATIENCE_SECONDS)
        await asyncio.to_thread(client.connect, (world.ADDRESS, free_port))
        served, _ = server.accept()
        with served:
            served.settimeout(PATIENCE_SECONDS)

            def talk() -> None:
                client.sendall(b"ping")
                assert served.recv(4) == b"ping"
                served.sendall(b"pong")
                assert client.recv(4) == b"pong"

            for _ in range(3):
                talk()
                run("nft", "flush ruleset")
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while await netd.fsck():
                        pass
            talk()
