"""A service's durable event sequence: appended in the transaction of the change that it tells, streamed exactly.

``append`` inside ``Store.write`` gives an event the next sequence number, without holes. ``stream`` begins after a
cursor, at a time, or now, and never loses or repeats one; where what the caller wants next has been dropped it fails
with the reason EVENTS_GAP. The newest ``keep`` events are kept.
"""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import InvalidArgument
from chassis.metrics import EVENTS_APPENDED
from chassis.store import Store
from pier.types.v1 import types_pb2

_BATCH: Final = 256
_TRIM_EVERY: Final = 512


class EventLog:
    """The events table of one store."""

    def __init__(self, store: Store, node_id: str, keep: int = 100_000) -> None:
        self._store = store
        self._node_id = node_id
        self._keep = keep
        self._changed = asyncio.Event()
        store.on_commit(self._notify)

    def append(
        self,
        connection: sqlite3.Connection,
        kind: str,
        action: str,
        subject: str,
        owner: types_pb2.Owner | None = None,
        attributes: Mapping[str, str] | None = None,
        incarnation: int = 0,
        time_ns: int | None = None,
    ) -> int:
        """Add one event to the transaction of ``connection``; its sequence number. Fields as in types.Event."""
        when = time.time_ns() if time_ns is None else time_ns
        event = types_pb2.Event(
            node_id=self._node_id, type=kind, action=action, id=subject, owner=owner,
            attributes=dict(attributes or {}), incarnation=incarnation,
        )
        event.time.FromNanoseconds(when)
        cursor = connection.execute(
            "INSERT INTO events (time_ns, body) VALUES (?, ?)", (when, event.SerializeToString())
        )
        sequence = cursor.lastrowid
        assert sequence is not None
        if sequence % _TRIM_EVERY == 0:
            connection.execute("DELETE FROM events WHERE sequence <= ?", (sequence - self._keep,))
        EVENTS_APPENDED.labels(kind).inc()
        return sequence

    async def tell(self, step: str, kind: str, action: str, subject: str, attributes: Mapping[str, str]) -> None:
        """Add one event in a transaction of its own; ``step`` names the stage."""
        await self._store.write(
            step, lambda connection: self.append(connection, kind, action, subject, attributes=attributes))

    async def stream(self, selector: types_pb2.EventSelector) -> AsyncIterator[types_pb2.Event]:
        """Events as ``selector`` asks. InvalidArgument (EVENTS_GAP) where they are not kept any more."""
        position = await self._store.read(lambda connection: self._begin(connection, selector))
        until = selector.until.ToNanoseconds() if selector.HasField("until") else None
        while True:
            changed = self._changed
            batch = await self._store.read(functools.partial(_read, after=position))
            for sequence, time_ns, body in batch:
                if sequence != position + 1:
                    raise _gap(sequence)
                position = sequence
                if until is not None and time_ns > until:
                    return
                event = types_pb2.Event.FromString(body)
                event.cursor.epoch = self._store.epoch
                event.cursor.sequence = sequence
                yield event
            if batch:
                continue
            if until is None:
                await changed.wait()
            elif (left := (until - time.time_ns()) / 1e9) <= 0:
                return
            else:
                try:
                    await asyncio.wait_for(changed.wait(), left)
                except TimeoutError:
                    return

    def _begin(self, connection: sqlite3.Connection, selector: types_pb2.EventSelector) -> int:
        """Sequence after which to begin."""
        newest = _scalar(connection, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name='events'")
        if selector.HasField("after"):
            if selector.after.epoch and selector.after.epoch != self._store.epoch:
                raise InvalidArgument(
                    "after.epoch: the event sequence has begun anew", reason="EVENTS_GAP", field="selector.after.epoch",
                    expected=self._store.epoch,
                )
            if selector.after.sequence > newest:
                raise InvalidArgument(
                    f"after.sequence: {selector.after.sequence} has not happened yet", reason="BAD_CURSOR",
                    field="selector.after.sequence", expected=f"at most {newest}",
                )
            oldest = _scalar(connection, "SELECT coalesce(min(sequence), 0) FROM events")
            if oldest and selector.after.sequence + 1 < oldest:
                raise _gap(oldest)
            return int(selector.after.sequence)
        if selector.HasField("since"):
            since = selector.since.ToNanoseconds()
            first = _scalar(connection, "SELECT coalesce(min(sequence), 0) FROM events WHERE time_ns >= ?", since)
            return first - 1 if first else newest
        return newest

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def timestamp(nanoseconds: int) -> Timestamp:
    """Nanoseconds since 1970 as a protobuf Timestamp."""
    value = Timestamp()
    value.FromNanoseconds(nanoseconds)
    return value


def _read(connection: sqlite3.Connection, after: int) -> list[tuple[int, int, bytes]]:
    return connection.execute(
        "SELECT sequence, time_ns, body FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?", (after, _BATCH)
    ).fetchall()


def _scalar(connection: sqlite3.Connection, query: str, *values: object) -> int:
    row = connection.execute(query, values).fetchone()
    return int(row[0]) if row else 0


def _gap(oldest: int) -> InvalidArgument:
    return InvalidArgument(
        f"events before sequence {oldest} are not kept any more", reason="EVENTS_GAP",
        field="selector.after.sequence", expected=f"at least {oldest - 1}",
    )
