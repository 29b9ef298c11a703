"""The traces that are kept with a container: the last operations on it, for ``pier explain``."""

from __future__ import annotations

import sqlite3
from typing import Final

from chassis.logs import logger
from chassis.stages import Node
from chassis.store import Store
from pier.types.v1 import types_pb2

KEPT: Final = 16
"""Operations of one container; older ones are forgotten."""


class Traces:
    """What the coordinator hands over, and what execd does of itself: next lives, verdicts of health checks."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keep(self, container: str, root: types_pb2.Span) -> None:
        """Make the tree durable with ``container``; nothing where that is gone meanwhile."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO traces (container, body) SELECT id, ? FROM containers WHERE id=?",
                (root.SerializeToString(), container),
            )
            connection.execute(
                "DELETE FROM traces WHERE container=? AND sequence NOT IN "
                "(SELECT sequence FROM traces WHERE container=? ORDER BY sequence DESC LIMIT ?)",
                (container, container, KEPT),
            )

        await self._store.write("trace.record", write)

    async def keep_own(self, container: str, root: Node) -> None:
        """The same for an operation of execd's own, whose outcome does not hang on it."""
        try:
            await self.keep(container, root.to_span())
        except (sqlite3.Error, OSError) as error:
            logger().debug("trace not kept", container=container, error=str(error))

    async def of(self, container: str) -> list[types_pb2.Span]:
        """Newest first."""
        rows = await self._store.read(lambda connection: connection.execute(
            "SELECT body FROM traces WHERE container=? ORDER BY sequence DESC", (container,)
        ).fetchall())
        return [types_pb2.Span.FromString(body) for (body,) in rows]
