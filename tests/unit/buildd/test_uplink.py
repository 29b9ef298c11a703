"""What a client sends while its build goes."""

import asyncio
from contextlib import aclosing

import pytest

from buildd.progress import Progress
from buildd.uplink import Uplink
from chassis.errors import InvalidArgument
from pier.build.v1 import build_pb2 as pb

WITHIN = 20


class Client:
    """The requests' other end: ``send`` them, ``end`` the stream."""

    def __init__(self, *first):
        self.requests: asyncio.Queue[pb.BuildRequest | None] = asyncio.Queue()
        self.progress = Progress()
        self.uplink = Uplink(pb.BuildRequest(), self._all(), self.progress)
        for request in first:
            self.send(**request)

    def send(self, **fields):
        self.requests.put_nowait(pb.BuildRequest(**fields))

    def end(self):
        self.requests.put_nowait(None)

    async def _all(self):
        while (request := await self.requests.get()) is not None:
            yield request

    async def told(self):
        return await asyncio.wait_for(self.progress.messages.get(), WITHIN)


async def all_of(pieces):
    async with aclosing(pieces):
        return b"".join([piece async for piece in pieces])


async def test_the_context_ends_with_its_mark_or_with_the_stream():
    client = Client({"context": b"one"}, {"context": b"two", "context_end": True}, {"context": b"late"})
    assert await all_of(client.uplink.context()) == b"onetwo"
    other = Client({"context": b"one"})
    other.end()
    assert await all_of(other.uplink.context()) == b"one"


async def test_a_further_context_is_asked_for_and_others_are_passed_over():
    client = Client({"context_end": True})
    assert await all_of(client.uplink.context()) == b""
    reading = asyncio.create_task(all_of(client.uplink.further("lib")))
    assert (await client.told()).wanted == "lib"
    client.send(context=b"of the main one")
    client.send(context=b"no", context_name="other")
    for number in range(20):
        client.send(context=b"%d," % number, context_name="lib")
    client.send(context_end=True, context_name="lib")
    assert await asyncio.wait_for(reading, WITHIN) == b"".join(b"%d," % number for number in range(20))
    await client.uplink.close()


async def test_a_context_that_is_left_in_its_middle_stops_nothing_behind_it():
    client = Client({"context_end": True})
    await all_of(client.uplink.context())
    async with aclosing(client.uplink.further("lib")) as pieces:
        for _ in range(50):
            client.send(context=b"x", context_name="lib")
        assert await anext(pieces) == b"x"
    asking = asyncio.create_task(client.uplink.ask_agent("default", b"\x0b"))
    assert (await client.told()).wanted == "lib"
    asked = (await client.told()).agent_request
    assert (asked.id, asked.message) == ("default", b"\x0b")
    client.send(agent_answer=pb.AgentAnswer(number=asked.number + 1, message=b"another's"))
    client.send(agent_answer=pb.AgentAnswer(number=asked.number, message=b"answer"))
    assert await asyncio.wait_for(asking, WITHIN) == b"answer"
    await client.uplink.close()


async def test_a_client_that_says_no_more_sends_no_context_and_answers_for_no_agent():
    client = Client({"context_end": True})
    await all_of(client.uplink.context())
    reading = asyncio.create_task(all_of(client.uplink.further("lib")))
    asking = asyncio.create_task(client.uplink.ask_agent("default", b"\x0b"))
    await client.told()
    await client.told()
    client.end()
    assert await asyncio.wait_for(asking, WITHIN) == b""
    for again in (reading, all_of(client.uplink.further("lib"))):
        with pytest.raises(InvalidArgument) as refused:
            await asyncio.wait_for(again, WITHIN)
        assert refused.value.reason == "NO_CONTEXT"
    assert await client.uplink.ask_agent("default", b"\x0b") == b""
    await client.uplink.close()
