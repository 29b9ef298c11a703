"""The gateway's copy of the containers is execd's list, whatever was changed between two looks."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.errors import InvalidArgument
from chassis.events import EventLog
from chassis.store import Store
from coordinator.services import NAMESPACE
from execd import listing
from execd.records import MIGRATIONS, Records
from gateway.containers import Containers
from pier.exec.v1 import exec_pb2
from pier.types.v1 import types_pb2

STEP = st.tuples(st.sampled_from(["create", "change", "rename", "remove", "look", "restart"]), st.integers(0, 5))


class Execd:
    """execd's records behind the client that the gateway has of it; ``asked`` counts the containers sent."""

    def __init__(self, store):
        self.store, self.events = store, EventLog(store, "node")
        self.records = Records(store, self.events)
        self.sent = 0
        self.execd = self.containers = self
        self.ListContainers = None

    async def call(self, method, request, deadline):
        answer = listing.answer(self.records, request)
        self.sent += len(answer.containers)
        return answer

    async def restart(self):
        self.records = Records(self.store, self.events)
        await self.records.load()

    async def create(self, number):
        made = exec_pb2.Container(id=f"{number:064x}", name=f"name{number}",
                                  owner=types_pb2.Owner(manager="gateway", namespace=NAMESPACE))
        made.created_at.FromNanoseconds(number * 7 % 5 + 1)
        return await self.records.create(made, b"")

    def whole(self):
        return list(listing.answer(self.records, exec_pb2.ListContainersRequest(namespace=NAMESPACE)).containers)


@pytest.fixture
async def execd(tmp_path):
    store = await Store.open(tmp_path / "execd.db", MIGRATIONS)
    yield Execd(store)
    await store.close()


async def play(execd, steps):
    copy, alive, next_ = Containers(execd), [], 0
    for verb, which in steps:
        if verb == "create":
            alive.append((await execd.create(next_)).id)
            next_ += 1
        elif verb == "restart":
            await execd.restart()
        elif verb == "look":
            assert await copy.now(1.0) == execd.whole()
        elif alive:
            entry = execd.records.need(alive[which % len(alive)])
            if verb == "change":
                await execd.records.change(entry, "t", lambda made: setattr(made.status, "pid", made.status.pid + 1))
            elif verb == "rename":
                await execd.records.rename(entry, f"other{next_}")
                next_ += 1
            else:
                await execd.records.remove(entry)
                alive.remove(entry.id)
    assert await copy.now(1.0) == execd.whole()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, max_size=30))
def test_the_copy_is_the_list_after_any_changes(tmp_path_factory, steps):
    import asyncio

    async def run():
        store = await Store.open(tmp_path_factory.mktemp("execd") / "execd.db", MIGRATIONS)
        try:
            await play(Execd(store), steps)
        finally:
            await store.close()

    asyncio.run(run())


async def test_only_what_has_changed_is_sent_again(execd):
    copy = Containers(execd)
    for number in range(5):
        await execd.create(number)
    await copy.now(1.0)
    assert execd.sent == 5
    await copy.now(1.0)
    assert execd.sent == 5
    await execd.records.change(execd.records.need(f"{2:064x}"), "t", lambda made: setattr(made.status, "pid", 9))
    assert [each.status.pid for each in await copy.now(1.0) if each.id == f"{2:064x}"] == [9]
    assert execd.sent == 6


async def test_pages_and_what_has_changed_exclude_each_other(execd):
    for more in ({"labels": {"a": "b"}}, {"states": [exec_pb2.CONTAINER_STATE_RUNNING]}, {"page_token": "x"}):
        with pytest.raises(InvalidArgument, match="changed_since"):
            listing.answer(execd.records, exec_pb2.ListContainersRequest(changed_since="x", **more))


@pytest.mark.parametrize("position", ["nonsense", "/", "x/9", "\0", "9" * 100])
async def test_a_position_that_is_none_gets_the_whole_list(execd, position):
    await execd.create(1)
    answer = listing.answer(execd.records, exec_pb2.ListContainersRequest(changed_since=position))
    assert (len(answer.containers), answer.changes_only) == (1, False)
