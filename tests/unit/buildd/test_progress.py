"""What a build tells its client: all of it, in order, and at once what comes at once."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from buildd.progress import Progress
from pier.build.v1 import build_pb2 as pb


def begin(number):
    return pb.BuildResponse(begin=pb.StepBegin(id=number))


def log(number):
    return pb.BuildResponse(log=pb.StepLog(id=number, data=b"x" * 1000))


async def told(work):
    """The messages as they are sent, for what ``work`` says."""
    progress = Progress()
    task = asyncio.create_task(work(progress))
    return [message async for message in progress.until(task)]


def flat(messages):
    found = []
    for message in messages:
        following = list(message.following)
        message.ClearField("following")
        found += [message, *following]
    return found


async def test_what_is_said_at_once_is_one_message():
    async def work(progress):
        for number in range(10):
            await progress.send(begin(number))

    (message,) = await told(work)
    assert flat([message]) == [begin(number) for number in range(10)]


async def test_a_message_is_no_longer_than_one_may_be():
    large = pb.BuildResponse(output=bytes(700 << 10))

    async def work(progress):
        for _ in range(5):
            await progress.send(large)

    messages = await told(work)
    assert max(message.ByteSize() for message in messages) < 2 << 20
    assert len(flat(messages)) == 5


@given(st.lists(st.tuples(st.sampled_from([begin, log]), st.booleans()), max_size=100))
async def test_nothing_is_lost_and_all_is_in_order(said):
    async def work(progress):
        for number, (make, pauses) in enumerate(said):
            await progress.send(make(number))
            if pauses:
                await asyncio.sleep(0)

    assert flat(await told(work)) == [make(number) for number, (make, _) in enumerate(said)]
