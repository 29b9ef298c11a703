"""Records: which steps were carried out, of what they were made, and where what they made is.

A step that is going to be carried out is an intent first (``begin``), with all that its record will say. Its snapshot
is committed at imaged afterwards, and only then is the record written, in the transaction that ends the intent: what
died in between is found in ``unfinished``, and imaged knows whether it was committed.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from typing import Final

import msgspec

from chassis import store
from chassis.store import Intent, Store

REGULAR: Final = "regular"
CACHE_MOUNT: Final = "exec.cachemount"
CONFIG: Final = "config"
"""A step that changed nothing but the configuration: it is remembered so that a rebuild has the same times."""
_STEP: Final = "step"

MIGRATIONS: Final = ("""
    CREATE TABLE records (
        key TEXT PRIMARY KEY, type TEXT NOT NULL, parent TEXT NOT NULL, place TEXT NOT NULL, snapshot TEXT NOT NULL,
        used_ns INTEGER NOT NULL, uses INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
    CREATE INDEX records_by_place ON records (place, used_ns);
    CREATE INDEX records_by_snapshot ON records (snapshot);
""",)


class Inputs(msgspec.Struct, frozen=True):
    """What a cache key is made of, kept so that a miss can be explained. ``ground`` is the cache key below; ``files``
    is what was selected with the digest of it; ``settings`` are the other things that count (SHELL, USER, …)."""

    ground: str
    instruction: str
    arguments: dict[str, str] = {}
    files: dict[str, str] = {}
    settings: dict[str, str] = {}


class Record(msgspec.Struct, frozen=True):
    """``snapshot`` names imaged's committed snapshot, "" for none, and ``made_in`` is the key of the writable one that
    it was; ``layer`` is its own layer's chain id, "" where it changed no file; ``chain_id`` that of its topmost layer.
    ``place`` is where in which Dockerfile it stands. Sizes in bytes."""

    key: str
    type: str
    parent: str
    place: str
    snapshot: str
    inputs: Inputs
    created_ns: int
    made_in: str = ""
    chain_id: str = ""
    layer: str = ""
    size: int = 0
    used_ns: int = 0
    uses: int = 0


def find(connection: sqlite3.Connection, key: str) -> Record | None:
    row = connection.execute("SELECT body, used_ns, uses FROM records WHERE key=?", (key,)).fetchone()
    return _record(row) if row else None


def last_at(connection: sqlite3.Connection, place: str) -> Record | None:
    """The one that was used last of those that stand at ``place``."""
    row = connection.execute(
        "SELECT body, used_ns, uses FROM records WHERE place=? ORDER BY used_ns DESC LIMIT 1", (place,)).fetchone()
    return _record(row) if row else None


def everything(connection: sqlite3.Connection) -> list[Record]:
    """Most recently used first."""
    rows = connection.execute("SELECT body, used_ns, uses FROM records ORDER BY used_ns DESC, key").fetchall()
    return [_record(row) for row in rows]


def begin(connection: sqlite3.Connection, record: Record) -> None:
    """The step is being carried out."""
    store.begin(connection, record.key, _STEP, msgspec.json.encode(record))


def put(connection: sqlite3.Connection, record: Record) -> None:
    """Write the record, and end its intent."""
    connection.execute(
        "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (record.key, record.type, record.parent, record.place, record.snapshot, record.used_ns or record.created_ns,
         record.uses, msgspec.json.encode(record)),
    )
    store.finish(connection, record.key)


def use(connection: sqlite3.Connection, keys: Iterable[str]) -> None:
    """They were used now."""
    now = time.time_ns()
    connection.executemany("UPDATE records SET used_ns=?, uses=uses+1 WHERE key=?", [(now, key) for key in keys])


def drop(connection: sqlite3.Connection, key: str) -> None:
    connection.execute("DELETE FROM records WHERE key=?", (key,))


async def forget(kept: Store, key: str) -> None:
    """Take the record away."""
    await kept.write("record.forget", lambda connection: drop(connection, key))


def abandon(connection: sqlite3.Connection, key: str) -> None:
    """The step was not carried out."""
    store.finish(connection, key)


def unfinished(connection: sqlite3.Connection) -> list[Record]:
    """The records of steps that were begun and neither finished nor abandoned."""
    return [record_of(intent) for intent in store.unfinished(connection) if intent.verb == _STEP]


def record_of(intent: Intent) -> Record:
    return msgspec.json.decode(intent.body, type=Record)


def _record(row: tuple[bytes, int, int]) -> Record:
    body, used_ns, uses = row
    return msgspec.structs.replace(msgspec.json.decode(body, type=Record), used_ns=used_ns, uses=uses)
