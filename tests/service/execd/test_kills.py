"""execd, zygote and shims killed at every boundary and at random: no line and no exit code is lost, nothing is left."""

import asyncio
import os
import random
import re
import time

import pytest

from chassis import stages
from chassis.errors import NotFound, PierError
from chassis.ids import new_id
from pier.exec.v1 import exec_pb2
from tests.service.execd.rpc import kernel_tells_exits, kill_and_see, parent_of, running, until

COUNTER = ("sh", "-c", "i=0; while :; do echo line $i; i=$((i+1)); usleep 10000; done")
SEVEN = ("sh", "-c", "while [ ! -e /go ]; do usleep 10000; done; exit 7")
RANDOM_KILLS = int(os.environ.get("PIER_TEST_RANDOM_KILLS", "20"))

CREATING = exec_pb2.CONTAINER_STATE_CREATING
CREATED = exec_pb2.CONTAINER_STATE_CREATED
RUNNING = exec_pb2.CONTAINER_STATE_RUNNING
EXITED = exec_pb2.CONTAINER_STATE_EXITED


@pytest.fixture
async def execd(tmp_path):
    async with running("xkill", tmp_path) as execd:
        yield execd


async def count(execd, id_):
    """How many numbered lines there are; that none is missing, doubled or out of order is asserted."""
    numbers = [int(number) for number in re.findall(rb"^line (\d+)\n", await execd.logs(id_), re.MULTILINE)]
    assert numbers == list(range(len(numbers)))
    return len(numbers)


def go(pid):
    """Let SEVEN end."""
    with open(f"/proc/{pid}/root/go", "w"):
        pass


@pytest.mark.parametrize("victims", [("execd",), ("zygote",), ("execd", "zygote")], ids="+".join)
async def test_killing_execd_and_zygote_loses_no_line_and_no_exit_code(execd, victims):
    counter, seven = await execd.create(*COUNTER), await execd.create(*SEVEN)
    await execd.begin(counter)
    pid = (await execd.begin(seven)).container.status.pid
    before = await until(lambda: count(execd, counter), "first lines")
    execd.kill(*victims)
    go(pid)
    # The end comes while nobody of ours is there to see it but the shim.
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    for name in victims:
        execd.start(name)
    await execd.serving()
    assert (await execd.wait(seven)).code == 7
    assert (await execd.get(seven)).status.exit.code == 7

    async def more():
        return await count(execd, counter) > before + 20

    await until(more, "the counter goes on")
    assert (await execd.get(counter)).status.state == RUNNING
    assert await execd.fsck() == []
    third = await execd.create("true")
    await execd.begin(third)
    assert (await execd.wait(third)).code == 0
    await execd.call("StopContainer", id=counter, timeout=0)
    await count(execd, counter)


async def test_an_end_during_execds_death_is_told_once_as_an_event(execd):
    seven = await execd.create(*SEVEN)
    pid = (await execd.begin(seven)).container.status.pid
    execd.kill("execd")
    go(pid)
    execd.start("execd")
    await execd.serving()
    await execd.wait(seven)
    request = exec_pb2.EventsRequest()
    request.selector.after.sequence = 0
    request.selector.until.GetCurrentTime()
    actions = [answer.event.action async for answer in execd.peer.stream(execd.stub.Events, request)]
    assert [action for action in actions if action in ("create", "start", "die")] == ["create", "start", "die"]


async def test_a_killed_shim_leaves_the_container_running_and_its_end_is_never_zero(execd):
    seven = await execd.create(*SEVEN)
    pid = (await execd.begin(seven)).container.status.pid
    kill_and_see(parent_of(pid))
    assert (await execd.get(seven)).status.state == RUNNING
    go(pid)
    end = await execd.wait(seven)
    if kernel_tells_exits():
        assert end.code == 7
    else:
        assert not end.HasField("code")
    await execd.begin(seven, "2")
    assert (await execd.wait(seven)).code == 7
    assert await execd.fsck() == []


async def boundaries(execd):
    """Stages of a successful create, complete and start."""
    with stages.trace("probe") as root:
        probe = await execd.create("true")
        await execd.begin(probe)
    await execd.wait(probe)
    await execd.remove(probe)
    found = []

    def walk(span):
        if span.service == "execd" and "." in span.name and span.name not in found:
            found.append(span.name)
        for child in span.children:
            walk(child)

    walk(root.to_span())
    return found


async def attempt(execd, id_):
    """Create and start, as far as it goes."""
    try:
        await execd.create("sh", "-c", "exit 7", id_=id_)
        await execd.begin(id_)
        await execd.wait(id_)
    except PierError:
        return


async def settled(execd, id_):
    """Done or undone: the record is gone, at rest, or runs with a process that is there."""
    try:
        status = (await execd.get(id_)).status
    except NotFound:
        return True
    if status.state == RUNNING:
        return os.path.exists(f"/proc/{status.pid}")
    return status.state in (CREATING, CREATED, EXITED)


async def check(execd, id_, subject):
    async def done():
        return await settled(execd, id_)

    async def clean():
        return await execd.fsck() == []

    await until(done, f"{subject}: done or undone", 10)
    await until(clean, f"{subject}: fsck clean: {await execd.fsck()}", 10)
    # The same calls again go through to the same end.
    try:
        state = (await execd.get(id_)).status.state
    except NotFound:
        state = 0
    if state in (0, CREATING):
        await execd.create("sh", "-c", "exit 7", id_=id_)
        state = CREATED
    if state == CREATED:
        await execd.begin(id_, "again")  # the first operation has its answer: it was undone
    end = await execd.wait(id_)
    assert end.code == 7, subject
    await execd.remove(id_)
    assert await execd.fsck() == [], subject


async def test_create_and_start_killed_at_any_boundary_are_done_or_undone(execd):
    points = [stage + end for stage in await boundaries(execd) for end in ("", "@end")]
    assert len(points) > 10
    failures = []
    for point in points:
        id_ = new_id()
        execd.kill("execd")
        execd.start("execd", fault=f"execd:{point}:kill")
        await execd.serving()
        await attempt(execd, id_)
        try:
            async def acted():
                return execd.died()

            await until(acted, f"{point} acted", 5)
            execd.kill("execd")
            execd.start("execd")
            await execd.serving()
            await check(execd, id_, point)
        except (AssertionError, PierError) as error:
            failures.append(f"{point}: {error}")
    assert not failures, "\n".join(failures)


async def test_create_and_start_killed_at_random_moments_are_done_or_undone(execd):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for number in range(RANDOM_KILLS):
        id_ = new_id()
        victims = chance.choice([("execd",), ("execd",), ("zygote",), ("execd", "zygote")])
        trying = asyncio.create_task(attempt(execd, id_))
        await asyncio.sleep(chance.uniform(0, 0.06))
        execd.kill(*victims)
        await trying
        for name in victims:
            execd.start(name)
        await execd.serving()
        await check(execd, id_, f"seed {seed}, kill {number} of {victims}")
