"""A step is carried out once, and whatever dies meanwhile, once more at most."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from buildd import copying, leftovers, records, snapshots
from buildd.build import Build
from buildd.config import Config
from buildd.context import Context
from buildd.dockerfile.instructions import Copy
from buildd.dockerfile.parser import parse
from buildd.hashes import Hashes
from buildd.progress import Progress
from buildd.records import Inputs
from buildd.running import Surroundings
from buildd.snapshots import SCRATCH
from buildd.steps import Rules, Worked, carry_out, settle
from buildd.uplink import Uplink
from chassis.errors import InvalidArgument, PierError, Unavailable
from pier.build.v1 import build_pb2 as pb
from pier.image.v1 import image_pb2
from tests.unit.buildd.fakes import FakeImaged, closed, opened

INPUTS = Inputs("scratch", "RUN make")


@pytest.fixture
def imaged():
    return FakeImaged()


@pytest.fixture
async def state(tmp_path, imaged):
    made = await opened(tmp_path, imaged)
    yield made
    await closed(made)


class Step:
    """A step's work, counted; ``error`` is what it fails with."""

    def __init__(self, state, error=None):
        self.state = state
        self.done = 0
        self.error = error

    @asynccontextmanager
    async def __call__(self, key):
        async with snapshots.writable(self.state, "docker", SCRATCH, key):
            self.done += 1
            if self.error is not None:
                raise self.error
            yield Worked()

    async def carry_out(self, inputs=INPUTS, **rules):
        return await carry_out(self.state, "place", inputs, Rules(**rules), self)


async def nothing():
    """The requests of a client that says no more."""
    for request in list[pb.BuildRequest]():
        yield request


def a_build(state, context=Context()):
    progress = Progress()
    return Build(
        state, pb.BuildOptions(namespace="docker"), progress, Uplink(pb.BuildRequest(), nothing(), progress),
        context, image_pb2.Platform(), Rules(),
        asyncio.Semaphore(1), Surroundings(), AsyncExitStack(), Hashes(state, context))


async def settled(state):
    """Until what is done beside is done."""
    while state.operations._background:
        await asyncio.sleep(0)


async def test_it_is_found_the_second_time(state):
    step = Step(state)
    first = await step.carry_out()
    second = await step.carry_out()
    assert (first.cached, first.miss, second.cached) == (False, "first build", True)
    assert first.ground == second.ground
    assert step.done == 1


async def test_two_builds_that_need_it_carry_it_out_once(state):
    step = Step(state)
    found = await asyncio.gather(*(step.carry_out() for _ in range(5)))
    assert step.done == 1
    assert sorted(each.cached for each in found) == [False, True, True, True, True]


async def test_what_failed_leaves_nothing_and_is_carried_out_again(state, imaged):
    failing = Step(state, InvalidArgument("no"))
    with pytest.raises(InvalidArgument):
        await failing.carry_out()
    await settled(state)
    assert imaged.snapshots == {}
    assert await state.store.read(records.unfinished) == []
    assert not (await Step(state).carry_out()).cached


@pytest.mark.parametrize("after", [False, True], ids=["call", "answer"])
async def test_a_lost_commit_is_asked_for_before_the_step_is_repeated(state, imaged, after):
    step = Step(state)
    imaged.lose, imaged.after = "CommitSnapshot", after
    with pytest.raises(Unavailable):
        await step.carry_out()
    await settled(state)
    again = await step.carry_out()
    assert again.cached is after
    assert step.done == (1 if after else 2)
    assert again.record.chain_id
    assert await state.store.read(records.unfinished) == []


@pytest.mark.parametrize("after", [False, True], ids=["call", "answer"])
async def test_a_new_life_finishes_what_was_committed_and_forgets_what_was_not(tmp_path, imaged, after):
    state = await opened(tmp_path, imaged)
    imaged.lose, imaged.after = "CommitSnapshot", after
    with pytest.raises(PierError):
        await Step(state).carry_out()
    await closed(state)
    state = await opened(tmp_path, imaged)
    try:
        for record in await state.store.read(records.unfinished):
            await settle(state, record.key)
        for key in await leftovers.strays(state):
            await snapshots.drop(state, key)
        found = await Step(state).carry_out()
        assert found.cached is after
        assert set(imaged.snapshots) == {found.record.snapshot}
        assert await leftovers.check(state, repair=False) == []
    finally:
        await closed(state)


async def test_on_request_it_is_repeated_and_found_afterwards_as_it_was_made_last(state, imaged):
    step = Step(state)
    first = await step.carry_out()
    second = await step.carry_out(no_cache=True)
    third = await step.carry_out()
    assert (second.cached, second.miss, third.cached) == (False, "not cached on request", True)
    assert third.record.snapshot == second.record.snapshot != first.record.snapshot
    await settled(state)
    assert set(imaged.snapshots) == {second.record.snapshot}


async def test_a_snapshot_that_a_running_build_stands_on_is_not_taken_from_under_it(state, imaged):
    step = Step(state)
    first = await step.carry_out()
    build = a_build(state)
    async with build.bookkeeping():
        build.hold([first.record.key])
        await step.carry_out(no_cache=True)
        await settled(state)
        assert first.record.snapshot in imaged.snapshots
    await settled(state)
    assert first.record.snapshot not in imaged.snapshots
    assert not state.in_use


async def test_what_cannot_be_taken_away_now_is_tried_again(state, imaged):
    imaged.lose = "RemoveSnapshot"
    async with snapshots.writable(state, "docker", SCRATCH):
        assert imaged.snapshots
    await settled(state)
    assert imaged.snapshots == {}
    assert imaged.calls["RemoveSnapshot"] == 2


async def test_a_record_whose_snapshot_is_gone_is_found_by_fsck(state, imaged):
    done = await Step(state).carry_out()
    del imaged.snapshots[done.record.snapshot]
    (finding,) = await leftovers.check(state, repair=True)
    assert (finding.reason, finding.subject, finding.repaired) == ("RECORD_WITHOUT_SNAPSHOT", done.record.key, True)
    assert await leftovers.check(state, repair=False) == []
    assert not (await Step(state).carry_out()).cached


def hashing():
    """Hashes that are on their way."""
    return [task for task in asyncio.all_tasks() if task.get_name() == "build:hash"]


async def test_what_plain_copies_take_is_hashed_before_their_turn_and_asked_for_once(state, imaged):
    build = a_build(state, Context("context"))
    text = b"FROM x\nCOPY a/b.c /\nCOPY a/b.c /again\nCOPY $V *.c /w/\nCOPY --from=y z /\nADD http://h/f /\nRUN true\n"
    (stage,) = parse(text, "Dockerfile").stages
    build.hashes.foresee([stage.steps])
    await asyncio.wait(hashing())
    assert imaged.calls["Hash"] == 1
    first = next(step for step in stage.steps if isinstance(step, Copy))

    async def find(_step, _from):
        return "context"

    found = await copying.prepare(build, SCRATCH, Config(), first, find)
    assert found.parts[0].digest == "sha256:of-a/b.c"
    assert imaged.calls["Hash"] == 1
    imaged.lose = "Hash"
    build.hashes.foresee([stage.steps])
    again = await copying.prepare(build, SCRATCH, Config(), first, find)
    assert again.parts == found.parts
    assert imaged.calls["Hash"] == 3
    async with build.hashes:
        build.hashes.foresee([stage.steps])
    assert not hashing()
