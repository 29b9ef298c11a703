"""What joining a network costs: alone, fifty at once, out of the pool of namespaces, and beside a thousand others."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from chassis import stages
from pier.network.v1 import network_pb2 as net
from pier.types.v1 import types_pb2
from tests.engine import wait_until
from tests.service.netd.engine import Netd

pytestmark = pytest.mark.bench

ROUNDS = 60
BURST = 50
CROWD = 1000
ATTACH_GOAL = 3.0  # milliseconds
POOL_GOAL = 0.5
JOINED = [net.Attachment(network="bridge")]


@pytest.fixture
async def netd(tmp_path: Path) -> AsyncIterator[Netd]:
    made = Netd("nb", tmp_path / "netd.log", quiet=True)
    await made.start(spare_namespaces=4)
    yield made
    await made.clean_up()


async def timed(work: Awaitable[object]) -> float:
    """Milliseconds that it takes."""
    began = time.perf_counter()
    await work
    return (time.perf_counter() - began) * 1000


def middle(values: list[float]) -> str:
    ordered = sorted(values)
    return f"{statistics.median(ordered):.2f} ms (90 %: {ordered[len(ordered) * 9 // 10]:.2f})"


async def medians(netd: Netd, first: int) -> dict[str, list[float]]:
    """Milliseconds of each verb, over and over, by a client that waits for the answers."""
    taken: dict[str, list[float]] = {"create": [], "attach": [], "detach": [], "remove": [], "create joined": []}
    for number in range(first, first + ROUNDS):
        taken["create"].append(await timed(netd.create(number)))
        taken["attach"].append(await timed(netd.attach(number)))
        taken["detach"].append(await timed(netd.detach(number)))
        taken["remove"].append(await timed(netd.remove(number)))
        taken["create joined"].append(await timed(netd.create(number, attachments=JOINED)))
        await netd.remove(number)
    return taken


async def test_attach_and_detach_alone_and_where_the_time_goes(netd: Netd) -> None:
    """The goal is netd's own time: what its caller waits for besides is two processes' gRPC."""
    await medians(netd, 1)
    for name, values in (await medians(netd, 1000)).items():
        print(f"\n{name}: {middle(values)}", end="")
    stages_of: dict[str, list[float]] = {}
    for number in range(2000, 2000 + ROUNDS):
        await netd.create(number)
        for name, milliseconds in spans(await traced(netd.attach(number))):
            stages_of.setdefault(name, []).append(milliseconds)
        await netd.remove(number)
    found = {name: statistics.median(values) for name, values in stages_of.items()}
    print("\nattach, within:", ", ".join(f"{name} {milliseconds:.2f}" for name, milliseconds in found.items()))
    assert sum(milliseconds for name, milliseconds in found.items() if "." in name) <= ATTACH_GOAL


async def test_a_namespace_out_of_the_pool(tmp_path: Path) -> None:
    netd = Netd("nb", tmp_path / "netd.log", quiet=True)
    await netd.start(spare_namespaces=ROUNDS)
    pins = netd.instance.runtime("netd") / "ns"
    await asyncio.to_thread(wait_until, lambda: len(list(pins.glob("pool-*"))) == ROUNDS, 60, "the pool is full")
    own = [await namespace(netd, number) for number in range(ROUNDS - 10)]
    print(f"\na namespace out of the pool: {middle(own)}")
    await netd.clean_up()
    assert statistics.median(own) <= POOL_GOAL


async def namespace(netd: Netd, number: int) -> float:
    """Milliseconds of a sandbox's namespace, as netd's own stage tells."""
    return dict(spans(await traced(netd.create(number))))["create_sandbox.netns"]


async def traced(call: Awaitable[object]) -> types_pb2.Span:
    """The stages of a call, netd's among them."""
    with stages.trace("bench") as root:
        await call
    return root.to_span()


def spans(root: types_pb2.Span) -> Iterator[tuple[str, float]]:
    """(name, milliseconds) of each below it."""
    for child in root.children:
        yield child.name, child.duration.ToNanoseconds() / 1e6
        yield from spans(child)


@pytest.mark.parametrize("spares", [0, 4])
async def test_fifty_at_once(tmp_path: Path, spares: int) -> None:
    netd = Netd("nb", tmp_path / "netd.log", quiet=True)
    await netd.start(spare_namespaces=spares)
    many = range(BURST)

    async def all_at_once(verb: Callable[[int], Awaitable[object]]) -> float:
        return await timed(asyncio.gather(*(verb(number) for number in many)))

    rounds = []
    for _ in range(4):
        create = await all_at_once(netd.create)
        attach = await all_at_once(netd.attach)
        detach = await all_at_once(netd.detach)
        await all_at_once(netd.remove)
        joined = await all_at_once(lambda number: netd.create(number, attachments=JOINED))
        rounds.append((create, attach, detach, joined, await all_at_once(netd.remove)))
    for name, values in zip(("create", "attach", "detach", "create joined", "remove"), zip(*rounds[1:], strict=True),
                            strict=True):
        print(f"\n{BURST} at once, spares {spares}: {name} {statistics.median(values):.0f} ms", end="")
    print()
    await netd.clean_up()


async def test_one_more_of_a_thousand_sandboxes_costs_what_the_first_did(netd: Netd) -> None:
    await netd.create_network(7, "crowd", pools=[net.Pool(subnet="10.87.0.0/16")])
    figures = []

    async def measure(count: int, first: int) -> None:
        taken = await medians(netd, first)
        figures.append((count, {name: statistics.median(values) for name, values in taken.items()}))

    await measure(0, 10_000)
    began = time.perf_counter()
    for first in range(0, CROWD, BURST):
        await asyncio.gather(*(
            netd.create(number, attachments=[net.Attachment(network="crowd" if number % 2 else "bridge")])
            for number in range(first, first + BURST)
        ))
        if first + BURST == CROWD // 2:
            await measure(CROWD // 2, 20_000)
    filled = time.perf_counter() - began
    await measure(CROWD, 30_000)
    for count, each in figures:
        print(f"\n{count:>5} sandboxes: " + ", ".join(f"{name} {value:.2f} ms" for name, value in each.items()), end="")
    print(f"\nmade in {filled:.1f} s")
    began = time.perf_counter()
    for first in range(0, CROWD, BURST):
        await asyncio.gather(*(netd.remove(number) for number in range(first, first + BURST)))
    print(f"removed in {time.perf_counter() - began:.1f} s")
    await netd.settled()
    await netd.remove_network("crowd")
    before, after = figures[0][1], figures[-1][1]
    for name in ("create", "attach", "detach", "remove"):
        assert after[name] < 2 * before[name] + 1, name
