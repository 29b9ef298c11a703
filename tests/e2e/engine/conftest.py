"""Clients of pier.engine.v1 at the engine of all e2e tests."""

import asyncio

import pytest

from pier_client import AsyncPier, Pier


@pytest.fixture(scope="package")
def address(engine):
    return f"unix://{engine.instance.engine_socket}"


@pytest.fixture
def pier(address):
    with Pier(address) as opened:
        yield opened


@pytest.fixture(scope="package")
def asyncly(address):
    """Runs a coroutine function over an asyncio client. What gRPC opens once for a process is open before any test."""

    def run(work):
        async def main():
            async with AsyncPier(address) as opened:
                return await work(opened)

        return asyncio.run(main())

    run(lambda opened: opened.info())
    return run


@pytest.fixture(autouse=True)
def warm(asyncly):
    pass
