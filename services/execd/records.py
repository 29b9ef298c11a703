"""Container records: what was asked for and what was observed, on disk and, the same, in memory.

A record is the contract's ``Container`` message. Reads come from memory and wait for nothing; ``change`` writes a copy
durably, together with the events that tell it, and only then shows it. Messages handed out are never modified.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from chassis.errors import AlreadyExists, InvalidArgument, NotFound
from chassis.events import EventLog
from chassis.store import Store
from pier.exec.v1 import exec_pb2

if TYPE_CHECKING:
    from execd.shims import ShimLink

MIGRATIONS: Final = (
    """
    CREATE TABLE containers (
        id TEXT PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, fingerprint BLOB NOT NULL,
        operation TEXT NOT NULL, body BLOB NOT NULL, UNIQUE (namespace, name)) STRICT;
    CREATE TABLE tombstones (id TEXT PRIMARY KEY, removed_ns INTEGER NOT NULL, exit BLOB NOT NULL) STRICT;
    CREATE TABLE execs (
        id TEXT PRIMARY KEY, container TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
        fingerprint BLOB NOT NULL, operation TEXT NOT NULL, body BLOB NOT NULL) STRICT;
    CREATE INDEX execs_of ON execs (container);
    CREATE TABLE traces (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT, container TEXT NOT NULL REFERENCES containers (id)
        ON DELETE CASCADE, body BLOB NOT NULL) STRICT;
    CREATE INDEX traces_of ON traces (container);
    """,
    """
    ALTER TABLE containers ADD COLUMN start BLOB NOT NULL DEFAULT x'';
    """,
)
_TOMBSTONES: Final = 10_000
_REMOVALS: Final = 10_000
"""Removals that are remembered for those who ask what has changed."""


@dataclass(frozen=True)
class Note:
    """An event to tell with a change: Docker's action word and its attributes beside the usual ones."""

    action: str
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass
class Entry:
    """One container in memory. ``lock`` is held by whatever changes its life: start, the record of its end, removal.

    ``held`` are copies of the ends of its output's streams, for the successor of a killed shim.
    ``start`` is the request of the last start by hand, serialised: a restart takes the same sandbox and files.
    ``sequence`` counts the changes of all records: that of this one's last change.
    """

    container: exec_pb2.Container
    fingerprint: bytes
    operation: str
    start: bytes = b""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    shim: ShimLink | None = None
    pidfd: int = -1
    held: dict[str, int] = field(default_factory=dict)
    exits: int = 0
    removed: bool = False
    sequence: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id(self) -> str:
        return self.container.id

    @property
    def state(self) -> exec_pb2.ContainerState.ValueType:
        return self.container.status.state

    def is_running(self) -> bool:
        return self.state in (exec_pb2.CONTAINER_STATE_RUNNING, exec_pb2.CONTAINER_STATE_PAUSED)

    def changed(self) -> Coroutine[Any, Any, bool]:
        """Wait for the next change of the record, counted from the call, or for its removal."""
        return self._changed.wait()

    def notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Records:
    """All containers of this instance."""

    def __init__(self, store: Store, events: EventLog) -> None:
        self._store = store
        self._events = events
        self._entries: dict[str, Entry] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._epoch = secrets.token_hex(8)
        self._sequence = 0
        self._removals: deque[tuple[int, str]] = deque(maxlen=_REMOVALS)

    async def load(self) -> None:
        """Read everything, once, when the service starts."""
        rows = await self._store.read(lambda connection: connection.execute(
            "SELECT body, fingerprint, operation, start FROM containers"
        ).fetchall())
        for body, fingerprint, operation, start in rows:
            self._put(Entry(exec_pb2.Container.FromString(body), fingerprint, operation, start))

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    @property
    def position(self) -> str:
        """Where the records stand now; the same as long as nothing changes and this process lives."""
        return f"{self._epoch}/{self._sequence}"

    def changes(self, position: str) -> tuple[list[Entry], list[str]] | None:
        """(entries that were made or changed, ids that are gone) since ``position``; None where that is not known."""
        epoch, _, text = position.partition("/")
        if epoch != self._epoch or not (text.isascii() and text.isdigit()):
            return None
        since = int(text)
        if len(self._removals) == _REMOVALS and self._removals[0][0] > since:
            return None
        changed = [] if since == self._sequence else [
            entry for entry in self._entries.values() if entry.sequence > since]
        return changed, [id_ for sequence, id_ in self._removals if sequence > since]

    def get(self, container_id: str) -> Entry | None:
        return self._entries.get(container_id)

    def need(self, container_id: str) -> Entry:
        """By full id; NotFound (NO_SUCH_CONTAINER)."""
        entry = self._entries.get(container_id)
        if entry is None:
            raise NotFound(f"No such container: {container_id[:64]}", reason="NO_SUCH_CONTAINER", field="id")
        return entry

    def find(self, namespace: str, word: str) -> Entry:
        """By id, name or unique prefix of the id, in that order."""
        entry = self._entries.get(word)
        if entry is None:
            holder = self._names.get((namespace, word.removeprefix("/")))
            entry = self._entries.get(holder) if holder else None
        if entry is not None and entry.container.owner.namespace == namespace:
            return entry
        matches = [
            item for item in self._entries.values()
            if word and item.id.startswith(word) and item.container.owner.namespace == namespace
        ]
        if len(matches) > 1:
            raise InvalidArgument(f"multiple IDs found with provided prefix: {word}", reason="AMBIGUOUS",
                                  field="container")
        if not matches:
            raise NotFound(f"No such container: {word}", reason="NO_SUCH_CONTAINER", field="container")
        return matches[0]

    def named(self, namespace: str, word: str) -> Entry:
        """As ``find`` with a namespace, as ``need`` without."""
        return self.find(namespace, word) if namespace else self.need(word)

    async def create(self, container: exec_pb2.Container, fingerprint: bytes) -> Entry:
        """Take the id and the name. AlreadyExists (SPEC_DIFFERS, NAME_TAKEN)."""
        existing = self._entries.get(container.id)
        if existing is not None:
            if existing.fingerprint != fingerprint:
                raise AlreadyExists(f"container {container.id} exists with another spec", reason="SPEC_DIFFERS",
                                    field="id")
            return existing
        self._need_free(container.owner.namespace, container.name)
        entry = Entry(container, fingerprint, "")
        # Shown before it is durable, so that the name is taken at once; taken back where the write fails.
        self._put(entry)
        try:
            await self._store.write("create.record", lambda connection: _insert(connection, entry))
        except BaseException:
            self._drop(entry)
            raise
        return entry

    async def change(
        self,
        entry: Entry,
        step: str,
        edit: Callable[[exec_pb2.Container], None],
        notes: Iterable[Note] = (),
        *,
        operation: str | None = None,
        also: Callable[[sqlite3.Connection], None] | None = None,
        time_ns: int | None = None,
    ) -> exec_pb2.Container:
        """Make ``edit`` durable with its events, then show it. The caller holds ``entry.lock`` where lives change."""
        container = exec_pb2.Container()
        container.CopyFrom(entry.container)
        edit(container)
        word = entry.operation if operation is None else operation

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE containers SET operation=?, body=? WHERE id=?", (word, container.SerializeToString(), entry.id)
            )
            for note in notes:
                self.append(connection, container, note, time_ns)
            if also is not None:
                also(connection)

        await self._store.write(step, write)
        entry.container, entry.operation = container, word
        entry.sequence = self._next()
        entry.notify()
        return container

    async def rename(self, entry: Entry, name: str) -> None:
        """Take another name. AlreadyExists (NAME_TAKEN)."""
        namespace, old = entry.container.owner.namespace, entry.container.name
        self._need_free(namespace, name)
        self._names[namespace, name] = entry.id  # taken at once, as by create

        def edit(container: exec_pb2.Container) -> None:
            container.name = name

        def also(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE containers SET name=? WHERE id=?", (name, entry.id))

        try:
            async with entry.lock:
                await self.change(entry, "rename.record", edit, [Note("rename", {"oldName": f"/{old}"})], also=also)
        except BaseException:
            del self._names[namespace, name]
            raise
        del self._names[namespace, old]

    def _need_free(self, namespace: str, name: str) -> None:
        holder = self._names.get((namespace, name))
        if holder is not None:
            raise AlreadyExists(
                f'Conflict. The container name "/{name}" is already in use by container "{holder}". You have to remove '
                "(or rename) that container to be able to reuse that name.",
                reason="NAME_TAKEN", field="name", facts={"holder": holder},
            )

    async def tell(self, entry: Entry, step: str, note: Note) -> None:
        """An event without a change."""
        await self._store.write(step, lambda connection: self.append(connection, entry.container, note, None))

    async def remove(self, entry: Entry) -> None:
        """Forget the record; a tombstone keeps its last exit for late waits."""
        exit_ = last_exit(entry.container)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM containers WHERE id=?", (entry.id,))
            connection.execute(
                "INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?)",
                (entry.id, time.time_ns(), exit_.SerializeToString()),
            )
            connection.execute(
                "DELETE FROM tombstones WHERE id IN "
                "(SELECT id FROM tombstones ORDER BY removed_ns DESC LIMIT -1 OFFSET ?)",
                (_TOMBSTONES,),
            )
            self.append(connection, entry.container, Note("destroy"), None)

        await self._store.write("remove.record", write)
        self._drop(entry)
        entry.removed = True
        entry.notify()

    async def tombstone(self, container_id: str) -> exec_pb2.Exit | None:
        """The last exit of a removed container."""
        row = await self._store.read(
            lambda connection: connection.execute("SELECT exit FROM tombstones WHERE id=?", (container_id,)).fetchone()
        )
        return exec_pb2.Exit.FromString(row[0]) if row else None

    def append(
        self, connection: sqlite3.Connection, container: exec_pb2.Container, note: Note, time_ns: int | None
    ) -> None:
        """Add an event about ``container`` to a transaction of the caller's."""
        attributes = {**container.spec.labels, "image": container.spec.image, "name": container.name, **note.attributes}
        self._events.append(
            connection, "container", note.action, container.id, container.owner, attributes,
            container.status.incarnation, time_ns,
        )

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _put(self, entry: Entry) -> None:
        entry.sequence = self._next()
        self._entries[entry.id] = entry
        self._names[entry.container.owner.namespace, entry.container.name] = entry.id

    def _drop(self, entry: Entry) -> None:
        self._removals.append((self._next(), entry.id))
        self._entries.pop(entry.id, None)
        self._names.pop((entry.container.owner.namespace, entry.container.name), None)


def last_exit(container: exec_pb2.Container) -> exec_pb2.Exit:
    """How it last ended; code 0 where it never ran, as Docker answers."""
    if container.status.HasField("exit"):
        return container.status.exit
    return exec_pb2.Exit(code=0)


def _insert(connection: sqlite3.Connection, entry: Entry) -> None:
    container = entry.container
    connection.execute(
        "INSERT INTO containers (id, namespace, name, fingerprint, operation, body) VALUES (?, ?, ?, ?, '', ?)",
        (container.id, container.owner.namespace, container.name, entry.fingerprint, container.SerializeToString()),
    )
