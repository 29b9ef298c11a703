"""What SQLite would forget in silence is told; what a crash may leave is no damage."""

import random
import sqlite3
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis import wal
from chassis.errors import DataLoss
from chassis.store import Store

COMMITS = 12


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """The bytes of a log of twelve commits, as a process that was killed leaves it."""
    path = tmp_path_factory.mktemp("wal") / "made.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE thing (name TEXT)")
    for number in range(COMMITS - 1):
        connection.execute("INSERT INTO thing VALUES (?)", (f"{number}" * 100,))
    data = path.with_name("made.db-wal").read_bytes()
    connection.close()
    return data


def found(directory, data):
    path = directory / "some.db-wal"
    path.write_bytes(data)
    return wal.damage(path)


def test_a_whole_log_and_none_are_no_damage(log, tmp_path):
    assert found(tmp_path, log) == ""
    assert wal.damage(tmp_path / "none.db-wal") == ""


def frame(log, number):
    """Offset of a frame, counted from 1; -1 is the last."""
    size = 24 + struct.unpack_from(">I", log, 8)[0]
    count = (len(log) - 32) // size
    return 32 + size * ((number - 1) if number > 0 else count + number)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_byte_changed_before_the_last_transaction_is_damage(log, tmp_path_factory, data):
    """The flag that marks a commit is left out for the frame before the last: the log is then as a torn one is."""
    offset = data.draw(st.integers(0, frame(log, -2) - 1))
    changed = bytearray(log)
    changed[offset] ^= data.draw(st.integers(1, 255))
    assert found(tmp_path_factory.mktemp("wal"), bytes(changed))


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_a_log_that_ends_anywhere_is_what_a_crash_leaves(log, tmp_path_factory, data):
    assert found(tmp_path_factory.mktemp("wal"), log[:data.draw(st.integers(0, len(log)))]) == ""


def test_what_an_earlier_life_of_the_log_left_behind_is_no_damage(tmp_path):
    path = tmp_path / "some.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE thing (name TEXT)")
    for number in range(COMMITS):
        connection.execute("INSERT INTO thing VALUES (?)", (f"{number}",))
    connection.execute("PRAGMA wal_checkpoint(RESTART)")
    connection.execute("INSERT INTO thing VALUES ('after')")
    assert wal.damage(path.with_name("some.db-wal")) == ""
    connection.close()


async def test_a_database_whose_log_is_damaged_is_refused_and_stays_as_it_is(log, tmp_path):
    path, beside = tmp_path / "s.db", tmp_path / "s.db-wal"
    changed = bytearray(log)
    changed[frame(log, 3) + 30] ^= 1
    path.write_bytes(b"")
    beside.write_bytes(changed)
    for _ in range(2):  # a second try finds no less
        with pytest.raises(DataLoss, match=r"s\.db: the database is damaged: frame 3 of its log") as caught:
            await Store.open(path, [])
        assert caught.value.reason == "DATABASE_DAMAGED"
    assert beside.read_bytes() == changed


async def test_a_damaged_database_is_refused_by_name(tmp_path):
    schema = ["CREATE TABLE thing (name TEXT PRIMARY KEY, more TEXT) STRICT;"]
    store = await Store.open(tmp_path / "s.db", schema)
    rows = [(str(number), "x" * 500) for number in range(50)]
    await store.write("t.put", lambda c: c.executemany("INSERT INTO thing VALUES (?, ?)", rows))
    await store.close()
    whole = (tmp_path / "s.db").read_bytes()
    seed = random.randrange(1 << 30)
    print("seed", seed)
    dice = random.Random(seed)
    damaged = bytearray(whole)
    for page in range(1, len(whole) // 4096):
        for _ in range(20):
            damaged[page * 4096 + dice.randrange(16)] ^= dice.randrange(1, 256)
    for data in (damaged, b"\0" * 100 + whole[100:], whole[: len(whole) // 2]):
        (tmp_path / "s.db").write_bytes(data)
        with pytest.raises(DataLoss, match=r"s\.db: the database is damaged: .*sqlite3 FILE \.recover"):
            await Store.open(tmp_path / "s.db", schema)
