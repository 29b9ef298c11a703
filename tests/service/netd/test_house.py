"""What netd is to its host: no forks, no leaks, no harm to another instance or program."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from netd import links, netns
from netd.netlink import NetlinkSocket
from pier.network.v1 import network_pb2 as net
from tests import world
from tests.service.netd.engine import Netd, container, run, tcp
from tests.service.netd.packets import PATIENCE_SECONDS, in_namespace, listener, on_host
from tests.service.netd.test_neighbours import DOCKERS_CHAINS
from tests.service.netd.test_service import attempted, path_of, reached

OUTSIDE = in_namespace(world.OUTSIDE)


async def test_netd_never_forks(tmp_path: Path) -> None:
    trace = tmp_path / "strace"
    netd = Netd("nt", tmp_path / "netd.log", [
        "strace", "-f", "-qq", "-o", str(trace), "-e", "trace=clone,clone3,fork,vfork,execve,execveat"
    ])
    await netd.start(spare_namespaces=2)
    await netd.create(1)
    await netd.attach(1, ports=[tcp(0), tcp(0, protocol="udp")])
    await netd.create_network(7, "blue", enable_ipv6=True)
    await netd.attach(1, "blue")
    await netd.peer.call(netd.stub.ExplainPort, net.ExplainPortRequest(sandbox_id=container(1), container_port=80))
    await netd.detach(1, "blue")
    await netd.create_network(8 << 240, "inner", driver="macvlan")
    await netd.attach(1, "inner")
    await netd.detach(1, "inner")
    await netd.remove_network("inner")
    await netd.remove_network("blue")
    await netd.fsck(repair=True)
    await netd.remove(1)
    await netd.stop()
    netd.kill_resolver()
    lines = trace.read_text().splitlines()
    assert len([line for line in lines if "execve" in line]) == 1, "its own start"
    made = [line for line in lines if re.search(r"\b(clone|clone3|fork|vfork)\(", line)]
    assert made, "threads at least"
    assert [line for line in made if "CLONE_THREAD" not in line] == []
    netd = Netd("nt", tmp_path / "clean.log")
    await netd.start()
    await netd.clean_up()


@pytest.mark.parametrize("spares", [0, 4])
async def test_two_hundred_sandboxes_leave_everything_as_before(tmp_path: Path, spares: int) -> None:
    netd = Netd("nt", tmp_path / "netd.log")
    await netd.start(spare_namespaces=0)
    # The first lives make what stays: threads, caches, connections.
    await _lives(netd, range(8))
    await netd.settled()
    before = netd.counts()
    if spares:
        await netd.stop()
        await netd.start(spare_namespaces=spares)
    for first in range(0, 200, 8):
        await _lives(netd, range(first, first + 8))
    if spares:
        await netd.stop()
        await netd.start(spare_namespaces=0)
        await _lives(netd, range(8))
    await netd.settled()
    after = netd.counts()
    assert (after.links, after.pins, after.mounts) == (before.links, before.pins, before.mounts)
    assert after.fds <= before.fds + 2, "the store and the channel may have one more or less"
    assert await netd.fsck() == []
    await netd.clean_up()


async def _lives(netd: Netd, numbers: Iterable[int]) -> None:
    """Sandboxes made, attached and removed, all at once."""
    async def live(number: int) -> None:
        await netd.create(number)
        await netd.attach(number, ports=[tcp(18181 + number)])
        await netd.remove(number)

    await asyncio.gather(*map(live, numbers))


async def test_two_instances_live_side_by_side(netd: Netd, tmp_path: Path) -> None:
    other = Netd("nu", tmp_path / "other.log")
    await other.start()
    try:
        one, two = await netd.create(1), await other.create(1)
        first, second = await netd.attach(1, ports=[tcp(18181)]), await other.attach(1, ports=[tcp(18182)])
        assert first.gateway_ipv4 != second.gateway_ipv4
        with listener(in_namespace(path_of(one)), "0.0.0.0", 80) as at_one, \
                listener(in_namespace(path_of(two)), "0.0.0.0", 80) as at_two:
            assert await reached(OUTSIDE, world.ADDRESS, 18181, at_one) == world.GATEWAY
            assert await reached(OUTSIDE, world.ADDRESS, 18182, at_two) == world.GATEWAY
            address = second.ipv4.partition("/")[0]
            assert await attempted(in_namespace(path_of(one)), address, 80, at_two) is None
            await netd.kill()
            await netd.start()
            assert await netd.fsck(repair=True) == []
            assert await other.fsck() == []
            assert await reached(OUTSIDE, world.ADDRESS, 18182, at_two) == world.GATEWAY
    finally:
        await other.clean_up()


async def test_two_first_starts_at_once_take_different_subnets(tmp_path: Path) -> None:
    instances = [Netd(f"nv{number}", tmp_path / f"{number}.log") for number in range(4)]
    await asyncio.gather(*(item.start() for item in instances))
    gateways = {(await item.network()).spec.pools[0].gateway for item in instances}
    for item in instances:
        await item.clean_up()
    assert len(gateways) == 4


async def test_a_subnet_that_the_host_has_a_route_to_is_not_taken(tmp_path: Path) -> None:
    netd = Netd("nt", tmp_path / "netd.log")
    await netd.start()
    taken = (await netd.network()).spec.pools[0].subnet
    await netd.clean_up()
    with NetlinkSocket() as sock:
        assert not any(str(route.destination) == taken for route in links.routes(sock))
    run("ip", "route", "add", taken, "via", world.GATEWAY)
    try:
        await netd.start()
        assert (await netd.network()).spec.pools[0].subnet != taken
        await netd.clean_up()
    finally:
        run("ip", "route", "del", taken, "via", world.GATEWAY)


async def test_a_link_of_another_program_with_our_name_is_left_alone(tmp_path: Path) -> None:
    netd = Netd("nt", tmp_path / "netd.log")
    run("ip", "link", "add", netd.instance.bridge, "type", "bridge")
    try:
        with pytest.raises(AssertionError, match="LINK_TAKEN"):
            await netd.start()
        assert Path(f"/sys/class/net/{netd.instance.bridge}").exists()
    finally:
        run("ip", "link", "del", netd.instance.bridge)
    await netd.clean_up()


async def test_a_docker_that_starts_later_or_flushes_its_chain_cuts_nobody_off(netd: Netd) -> None:
    one = await netd.create(1)
    await netd.attach(1)
    try:
        for _ in range(2):
            run("nft", DOCKERS_CHAINS + "flush chain ip filter DOCKER-USER")
            with listener(OUTSIDE, world.FAR, 7001) as server:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while await attempted(in_namespace(path_of(one)), world.FAR, 7001, server) is None:
                        pass
            run("nft", "flush chain ip filter FORWARD")
    finally:
        run("nft", "delete table ip filter")


async def test_64_neither_a_sandbox_nor_its_bridge_listens_to_ipv6_routers(netd: Netd) -> None:
    made = await netd.create(1)
    await netd.attach(1)
    link = (await netd.network()).link
    off = "net/ipv6/conf/{}/disable_ipv6"
    assert Path("/proc/sys", off.format(link)).read_text() == "1\n"
    inside = netns.inside(path_of(made), lambda: Path("/proc/sys", off.format("eth0")).read_text())
    assert inside == "1\n"


async def test_66_loopback_of_the_host_stays_closed_to_containers_and_neighbours(netd: Netd) -> None:
    one = await netd.create(1)
    await netd.attach(1, ports=[tcp(18181, "127.0.0.1")])
    with listener(in_namespace(path_of(one)), "0.0.0.0", 80) as server:
        assert await reached(on_host, "127.0.0.1", 18181, server) is not None
        assert await attempted(OUTSIDE, world.ADDRESS, 18181, server) is None
