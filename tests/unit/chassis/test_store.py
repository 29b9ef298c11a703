"""The store: durable transactions, rollback, migrations, intents; and the event sequence that lives in it."""

import asyncio
import sqlite3
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis import store as store_module
from chassis.errors import Conflict, InvalidArgument
from chassis.events import EventLog, timestamp
from chassis.store import Store
from pier.types.v1 import types_pb2

SCHEMA = ["CREATE TABLE thing (name TEXT PRIMARY KEY) STRICT;"]


@pytest.fixture
async def store(tmp_path):
    opened = await Store.open(tmp_path / "s.db", SCHEMA)
    yield opened
    await opened.close()


def names(connection):
    return [row[0] for row in connection.execute("SELECT name FROM thing ORDER BY name")]


async def test_what_was_written_is_read(store):
    await store.write("t.put", lambda c: c.execute("INSERT INTO thing VALUES ('a')"))
    assert await store.read(names) == ["a"]


async def test_a_failed_transaction_leaves_nothing(store):
    def fail(connection):
        connection.execute("INSERT INTO thing VALUES ('a')")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await store.write("t.put", fail)
    assert await store.read(names) == []


async def test_a_reader_cannot_write(store):
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await store.read(lambda c: c.execute("INSERT INTO thing VALUES ('a')"))


async def test_a_newer_schema_is_refused(tmp_path):
    newer = await Store.open(tmp_path / "new.db", [*SCHEMA, "CREATE TABLE more (x INT);"])
    await newer.close()
    with pytest.raises(Conflict, match="newer version"):
        await Store.open(tmp_path / "new.db", SCHEMA)


async def test_migrations_are_applied_once_and_the_epoch_stays(tmp_path):
    first = await Store.open(tmp_path / "m.db", SCHEMA)
    epoch = first.epoch
    await first.close()
    second = await Store.open(tmp_path / "m.db", [*SCHEMA, "CREATE TABLE more (x INT);"])
    assert second.epoch == epoch
    assert await second.read(lambda c: c.execute("SELECT count(*) FROM more").fetchone()) == (0,)
    await second.close()


async def test_an_intent_is_unfinished_until_it_is_finished(store):
    await store.write("t.begin", lambda c: store_module.begin(c, "k", "start", b"body"))
    (intent,) = await store.read(store_module.unfinished)
    assert (intent.key, intent.verb, intent.body) == ("k", "start", b"body")
    await store.write("t.finish", lambda c: store_module.finish(c, "k"))
    assert await store.read(store_module.unfinished) == []


async def test_the_database_is_private(store):
    assert store.path.stat().st_mode & 0o777 == 0o600


async def take(log, selector, count):
    seen = []
    async for event in log.stream(selector):
        seen.append(event)
        if len(seen) == count:
            break
    return seen


async def append(store, log, *actions):
    def work(connection):
        for action in actions:
            log.append(connection, "container", action, "id")

    await store.write("t.event", work)


async def test_a_stream_resumes_after_its_cursor_without_loss_or_repeat(store):
    log = EventLog(store, "node")
    await append(store, log, "create", "start", "die")
    first = await take(log, types_pb2.EventSelector(after=types_pb2.Cursor()), 2)
    rest = await take(log, types_pb2.EventSelector(after=first[-1].cursor), 1)
    assert [event.action for event in [*first, *rest]] == ["create", "start", "die"]
    assert [event.cursor.sequence for event in [*first, *rest]] == [1, 2, 3]


async def test_a_follower_is_told_what_happens_later(store):
    log = EventLog(store, "node")
    async with asyncio.timeout(30):
        waiting = asyncio.create_task(take(log, types_pb2.EventSelector(), 1))
        while not log._changed._waiters:
            await asyncio.sleep(0)
        await append(store, log, "start")
        assert [event.action for event in await waiting] == ["start"]


async def test_until_in_the_past_ends_the_replay(store):
    log = EventLog(store, "node")
    await append(store, log, "create")
    selector = types_pb2.EventSelector(since=timestamp(0), until=timestamp(time.time_ns()))
    assert [event.action async for event in log.stream(selector)] == ["create"]


async def test_what_is_not_kept_any_more_is_told_as_a_gap(store):
    log = EventLog(store, "node", keep=10)
    for _ in range(6):
        await append(store, log, *["start"] * 100)
    with pytest.raises(InvalidArgument) as caught:
        await take(log, types_pb2.EventSelector(after=types_pb2.Cursor(sequence=3)), 1)
    assert caught.value.reason == "EVENTS_GAP"


async def test_a_cursor_of_another_epoch_is_a_gap(store):
    log = EventLog(store, "node")
    with pytest.raises(InvalidArgument) as caught:
        await take(log, types_pb2.EventSelector(after=types_pb2.Cursor(epoch="other", sequence=0)), 1)
    assert caught.value.reason == "EVENTS_GAP"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), max_size=30))
def test_sequences_have_no_holes_whatever_fails(tmp_path_factory, outcomes):
    async def scenario():
        store = await Store.open(tmp_path_factory.mktemp("s") / "s.db", SCHEMA)
        log = EventLog(store, "node")
        for good in outcomes:
            def work(connection, good=good):
                log.append(connection, "container", "start", "id")
                if not good:
                    raise ValueError

            try:
                await store.write("t.event", work)
            except ValueError:
                pass
        rows = await store.read(lambda c: [row[0] for row in c.execute("SELECT sequence FROM events ORDER BY 1")])
        await store.close()
        return rows

    assert asyncio.run(scenario()) == list(range(1, sum(outcomes) + 1))
