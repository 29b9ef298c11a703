"""netd killed: at every boundary of every stage, under connections, and what the next start makes of it."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from chassis.errors import PierError
from netd import netns
from pier.network.v1 import network_pb2 as net
from tests import world
from tests.service.netd.engine import Netd, stages_of, tcp
from tests.service.netd.packets import PATIENCE_SECONDS, in_namespace, listener, on_host, reach
from tests.service.netd.test_service import path_of

OUTSIDE = in_namespace(world.OUTSIDE)
PORT = 18181
JOINED = [net.Attachment(network="bridge", ports=[tcp(PORT)]), net.Attachment(network="blue")]
Verb = Callable[[Netd], Awaitable[object]]


async def nothing(_netd: Netd) -> None:
    return


async def sandbox(netd: Netd) -> None:
    await netd.create(1)


async def attached(netd: Netd) -> None:
    await netd.create(1)
    await netd.attach(1, ports=[tcp(PORT)])


async def attached_twice(netd: Netd) -> None:
    await attached(netd)
    await netd.create_network(7, "blue")
    await netd.attach(1, "blue")


async def network(netd: Netd) -> None:
    await netd.create_network(7, "blue")


def on(**spec: object) -> Verb:
    """A sandbox, and a network called blue to join it to."""
    async def before(netd: Netd) -> None:
        await netd.create_network(7, "blue", **spec)
        await netd.create(1)

    return before


VERBS: dict[str, tuple[Verb, Verb, Verb]] = {
    # name: (what stands before, the verb, what undoes it)
    "create_sandbox": (nothing, lambda n: n.create(1), lambda n: n.remove(1)),
    "create_joined": (
        network, lambda n: n.create(1, attachments=JOINED), lambda n: n.remove(1),
    ),
    "attach": (sandbox, lambda n: n.attach(1, ports=[tcp(PORT)]), lambda n: n.detach(1)),
    "detach": (attached, lambda n: n.detach(1), nothing),
    "set_ports": (attached, lambda n: n.set_ports(1, tcp(PORT + 1), tcp(PORT, container_port=81)), nothing),
    "detach_of_two": (attached_twice, lambda n: n.detach(1), nothing),
    "remove_sandbox": (attached, lambda n: n.remove(1), nothing),
    "create_network": (nothing, lambda n: n.create_network(7, "blue"), lambda n: n.remove_network("blue")),
    "attach_both_ip_versions": (
        on(enable_ipv6=True), lambda n: n.attach(1, "blue", ports=[tcp(PORT)]), lambda n: n.detach(1, "blue"),
    ),
    "attach_macvlan": (on(driver="macvlan"), lambda n: n.attach(1, "blue"), lambda n: n.detach(1, "blue")),
    "create_macvlan_network": (
        nothing, lambda n: n.create_network(7, "blue", driver="macvlan"), lambda n: n.remove_network("blue"),
    ),
    "remove_network": (network, lambda n: n.remove_network("blue"), nothing),
}


@pytest.fixture
async def stopped(tmp_path: Path) -> AsyncIterator[Netd]:
    """An instance that a test starts by itself."""
    made = Netd("nt", tmp_path / "netd.log")
    yield made
    await made.clean_up()


@pytest.mark.parametrize("verb", VERBS)
async def test_a_verb_killed_at_any_stage_is_done_or_undone_after_the_next_start(
    stopped: Netd, verb: str, tmp_path: Path
) -> None:
    netd, armed = stopped, tmp_path / "armed"
    before, act, undo = VERBS[verb]
    await netd.start(faults=f"@{armed}")
    await before(netd)
    stages = list(dict.fromkeys(await stages_of(act(netd))))
    assert len(stages) >= 2, stages
    await tidy(netd)
    for point in [f"{stage}{end}" for stage in stages for end in ("", "@end")]:
        await before(netd)
        armed.write_text(f"netd:{point}:kill")
        with pytest.raises(PierError):
            await act(netd)
        assert await netd.ended() == -9, point
        await netd.start(faults=f"@{armed}")
        await netd.settled_but_recorded()
        assert await netd.fsck() == [], point
        # Whatever became of it, the same call again ends well, and it can be undone.
        await act(netd)
        assert await netd.fsck() == [], point
        await undo(netd)
        await tidy(netd)


async def tidy(netd: Netd) -> None:
    for item in await netd.sandboxes():
        await netd.remove(int(item.id, 16))
    await netd.remove_network("blue")
    await netd.settled()
    assert await netd.fsck() == []
    counts = netd.counts()
    assert counts.pins == 0
    assert not [name for name in counts.links if name.startswith(netd.instance.link_prefix)]


async def test_killed_at_random_moments_nothing_is_lost_or_left(stopped: Netd) -> None:
    netd = stopped
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for number in range(20):
        await netd.start(spare_namespaces=chance.choice([0, 3]))
        assert await netd.fsck() == [], seed
        work = asyncio.gather(*(_life(netd, 10 * number + i) for i in range(4)), return_exceptions=True)
        # The moment is the point here, not a wait for something.
        await asyncio.sleep(chance.uniform(0, 0.04))
        await netd.kill()
        await work
    await netd.start()
    await tidy(netd)


async def _life(netd: Netd, number: int) -> None:
    await netd.create(number)
    await netd.attach(number, ports=[tcp(0), tcp(0, protocol="udp")])
    await netd.remove(number)


async def test_the_first_start_killed_at_any_stage_is_finished_by_the_second(tmp_path: Path) -> None:
    model = Netd("nt", tmp_path / "model.log")
    await model.start()
    stages = list(dict.fromkeys(model.stages_logged()))
    await model.clean_up()
    assert "create_network.link" in stages
    for point in [f"{stage}{end}" for stage in stages for end in ("", "@end")]:
        netd = Netd("nt", tmp_path / f"{point}.log")
        await netd.start(faults=f"netd:{point}:kill", wait=False)
        await netd.start()
        assert await netd.fsck() == [], point
        await attached(netd)
        await netd.clean_up()


async def test_connections_and_sandboxes_outlive_netd_and_the_next_one_goes_on_with_them(netd: Netd) -> None:
    made = await netd.create(1)
    endpoint = await netd.attach(1, ports=[tcp(PORT)])
    inside = in_namespace(path_of(made))
    with listener(inside, "0.0.0.0", 80) as server, OUTSIDE(socket.SOCK_STREAM) as client:
        client.settimeout(PATIENCE_SECONDS)
        await asyncio.to_thread(client.connect, (world.ADDRESS, PORT))
        served, _ = server.accept()
        with served:
            served.settimeout(PATIENCE_SECONDS)

            def still_talks() -> None:
                client.sendall(b"ping")
                assert served.recv(4) == b"ping"

            still_talks()
            await netd.kill()
            still_talks()
            assert reach(OUTSIDE, world.ADDRESS, PORT, server) == world.GATEWAY, "new ones too"
            await netd.start()
            still_talks()
        assert await asyncio.to_thread(reach, OUTSIDE, world.ADDRESS, PORT, server) == world.GATEWAY
    assert await netd.fsck() == []
    assert await netd.attach(1, ports=[tcp(PORT)]) == endpoint
    assert (await netd.sandboxes())[0].netns_path == made.netns_path
    await netd.create(2)
    with pytest.raises(PierError, match="already allocated"):
        await netd.attach(2, ports=[tcp(PORT)])


async def test_what_a_sandbox_changed_inside_is_left_alone_by_a_restart(netd: Netd) -> None:
    made = await netd.create(1)
    await netd.attach(1)
    inside = ("nsenter", f"--net={path_of(made)}", "ip")
    await run(*inside, "address", "add", "10.99.0.1/24", "dev", "eth0")
    await run(*inside, "route", "del", "default")
    await netd.kill()
    await netd.start()
    assert await netd.fsck() == []
    shown = await run(*inside, "-br", "address", "show", "eth0")
    assert "10.99.0.1/24" in shown
    assert "default" not in await run(*inside, "route")


async def test_a_table_flushed_while_netd_is_dead_is_back_after_its_start(netd: Netd) -> None:
    made = await netd.create(1)
    await netd.attach(1, ports=[tcp(PORT)])
    await netd.kill()
    await run("nft", "flush ruleset")
    await netd.start()
    assert await netd.fsck() == []
    with listener(in_namespace(path_of(made)), "0.0.0.0", 80) as server:
        assert await asyncio.to_thread(reach, OUTSIDE, world.ADDRESS, PORT, server) == world.GATEWAY


async def test_a_port_that_was_taken_while_netd_was_dead_is_told(netd: Netd) -> None:
    await netd.create(1)
    await netd.attach(1, ports=[tcp(PORT)])
    await netd.kill()
    with listener(on_host, "0.0.0.0", PORT):
        await netd.start()
        assert [finding.reason for finding in await netd.fsck()] == ["PORT_NOT_HELD"]
    assert [finding.repaired for finding in await netd.fsck(repair=True)] == [True]
    assert await netd.fsck() == []


async def test_sandboxes_of_an_earlier_boot_are_forgotten(netd: Netd) -> None:
    await netd.create(1)
    endpoint = await netd.attach(1)
    await netd.stop()
    for pin in netns.pins(netd.instance.runtime("netd") / "ns"):
        netns.unpin(pin)
    await netd.settled()
    await netd.pretend_other_boot()
    await netd.start()
    assert await netd.sandboxes() == []
    assert await netd.fsck() == []
    await netd.create(1)
    assert (await netd.attach(1)).ipv4 != endpoint.ipv4, "no quick reuse, over a restart too"


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, command
    return output.decode()
