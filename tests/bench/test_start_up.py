"""How long execd needs until it serves, with a thousand stopped and two hundred running containers."""

import asyncio
import os
import time

import pytest

from pier.exec.v1 import exec_pb2
from tests.service.execd.conftest import service  # noqa: F401

pytestmark = pytest.mark.bench

STOPPED = int(os.environ.get("PIER_BENCH_STOPPED", "1000"))
RUNNING = int(os.environ.get("PIER_BENCH_RUNNING", "200"))
LIMIT = 2.0  # seconds, from the start of the process to its first answer
ROUNDS = 5
AT_ONCE = 4


async def test_execd_serves_soon_whatever_it_has_to_take_up(service):  # noqa: F811
    gate = asyncio.Semaphore(AT_ONCE)

    async def life(*command):
        async with gate:
            container = await service.run(*command)
            if command == ("/bin/true",):
                await service.wait(container)

    await asyncio.gather(*(life("/bin/true") for _ in range(STOPPED)))
    await asyncio.gather(*(life("/bin/sleep", "100000") for _ in range(RUNNING)))
    times = []
    for _ in range(ROUNDS):
        await service.kill()
        began = time.perf_counter()
        await service.start()
        times.append(time.perf_counter() - began)
        states = [container.status.state for container in await service.list()]
        assert states.count(exec_pb2.CONTAINER_STATE_RUNNING) == RUNNING
        assert states.count(exec_pb2.CONTAINER_STATE_EXITED) == STOPPED
    print(f"\nexecd's start with {STOPPED} stopped and {RUNNING} running containers: "
          f"{', '.join(f'{seconds:.2f}' for seconds in times)} s")
    assert min(times) < LIMIT
