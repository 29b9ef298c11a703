"""The SQLite store of a service: WAL, ``synchronous=FULL``, one writer thread, migrations, intents.

What ``write`` has returned from is on disk. Readers have a connection and thread of their own and never wait for the
writer. A database that a newer version has migrated is refused with a clear message.

A damaged one is refused, too (DataLoss, DATABASE_DAMAGED): its structure is checked when it is opened, and its log for
commits that SQLite would forget (``wal``). What SQLite has no checksum for, a byte changed within a value, it cannot
see.

Intents. A mutating verb writes what it is about to do (``begin``), acts, and writes the result in the same transaction
that ends the intent (``finish``). On start a service reads ``unfinished``, observes the kernel, and finishes or undoes.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from chassis import wal
from chassis.blocking import Pool
from chassis.errors import Conflict, DataLoss
from chassis.ids import new_id
from chassis.logs import logger
from chassis.metrics import STORE_COMMITS
from chassis.stages import stage

T = TypeVar("T")

_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_OWN_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS intents (
    key TEXT PRIMARY KEY, verb TEXT NOT NULL, body BLOB NOT NULL, since REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, time_ns INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
"""


@dataclass(frozen=True)
class Intent:
    """A step that was begun and not finished: ``verb`` and ``body`` as the service wrote them."""

    key: str
    verb: str
    body: bytes
    since: float


class Store:
    """One database file. Open it by ``await Store.open(...)``, close it by ``await store.close()``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.epoch = ""
        self._writer_pool = Pool("store-writer", 1)
        self._reader_pool = Pool("store-reader", 1)
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._after_commit: list[Callable[[], None]] = []

    @classmethod
    async def open(cls, path: Path, migrations: Sequence[str]) -> Store:
        """Open or make the database at ``path``; ``migrations`` are SQL scripts, one a version, never edited later."""
        store = cls(path)
        try:
            await store._writer_pool.run(store._open_writer, migrations)
            await store._reader_pool.run(store._open_reader)
        except BaseException:
            await store.close()
            raise
        return store

    async def write(self, step: str, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``function(connection)`` in one transaction on the writer thread, durable when this returns.

        ``step`` names the stage ("create.record"). What the function raises rolls the transaction back.
        """
        async with stage(step):
            result = await self._writer_pool.run(self._transaction, function)
        for notify in self._after_commit:
            notify()
        return result

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``function(connection)`` on the reader thread; it sees all that ``write`` has returned from."""
        return await self._reader_pool.run(self._with_reader, function)

    def on_commit(self, notify: Callable[[], None]) -> None:
        """Call ``notify`` on the loop after each durable write."""
        self._after_commit.append(notify)

    async def close(self) -> None:
        """Checkpoint and close. Calls after this fail."""
        for pool, connection in ((self._writer_pool, self._writer), (self._reader_pool, self._reader)):
            if connection is not None:
                await pool.run(connection.close)
        self._writer_pool.close()
        self._reader_pool.close()

    def _open_writer(self, migrations: Sequence[str]) -> None:
        if found := wal.damage(self.path.with_name(self.path.name + "-wal")):
            raise damaged(self.path, found)
        with self._whole():
            self._connect_writer(migrations)

    def _connect_writer(self, migrations: Sequence[str]) -> None:
        connection = self._writer = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self.path.chmod(0o600)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA busy_timeout=5000")
        connection.execute("PRAGMA cell_size_check=ON")
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise damaged(self.path, found)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(migrations):
            raise Conflict(
                f"{self.path}: written by a newer version (schema {version}, this one knows {len(migrations)}): "
                "install that version again, or bring back a backup of before",
                reason="NEWER_SCHEMA",
            )
        connection.executescript(_OWN_SCHEMA)
        for number, script in enumerate(migrations[version:], start=version + 1):
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\n;PRAGMA user_version={number};\nCOMMIT;")
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('epoch', ?)", (new_id()[:16],))
        (self.epoch,) = connection.execute("SELECT value FROM meta WHERE key='epoch'").fetchone()

    def _open_reader(self) -> None:
        self._reader = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._reader.execute("PRAGMA query_only=ON")
        self._reader.execute("PRAGMA busy_timeout=5000")

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """What SQLite says of a damaged file becomes DataLoss, which names the file."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                raise
            logger().error("database damaged", path=str(self.path), error=str(error))
            raise damaged(self.path, str(error)) from error

    def _transaction(self, function: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._writer
        assert connection is not None
        with self._whole():
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = function(connection)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        STORE_COMMITS.inc()
        return result

    def _with_reader(self, function: Callable[[sqlite3.Connection], T]) -> T:
        assert self._reader is not None
        with self._whole():
            return function(self._reader)


def damaged(path: Path, found: str) -> DataLoss:
    """The refusal of a database file; ``found`` is what is wrong with it."""
    words = " ".join(found.split())
    return DataLoss(
        f"{path}: the database is damaged: {words}; stop the service, keep a copy of the file, and bring back a backup "
        "or what `sqlite3 FILE .recover` saves", reason="DATABASE_DAMAGED",
    )


def begin(connection: sqlite3.Connection, key: str, verb: str, body: bytes) -> None:
    """Write the intent to do ``verb``; ``key`` is unique among unfinished ones and replaces its like."""
    connection.execute("INSERT OR REPLACE INTO intents VALUES (?, ?, ?, ?)", (key, verb, body, time.time()))


def finish(connection: sqlite3.Connection, key: str) -> None:
    """The intent is carried out or undone."""
    connection.execute("DELETE FROM intents WHERE key=?", (key,))


def unfinished(connection: sqlite3.Connection) -> list[Intent]:
    """What was begun and not finished, oldest first."""
    rows = connection.execute("SELECT key, verb, body, since FROM intents ORDER BY since").fetchall()
    return [Intent(*row) for row in rows]
