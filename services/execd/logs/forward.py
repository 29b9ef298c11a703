"""Sending: a task for each container whose driver sends, which reads the log's files behind the shim.

What a destination has taken is remembered as a position in the log, in the container's directory; whoever is killed
carries on from there. A destination that is away is tried again with a back-off, for as long as the container is there;
the log goes on growing into its files meanwhile, and what rotation takes from them unsent is counted as lost. A
container never waits for its destination, whatever ``mode`` says; ``non-blocking`` bounds what may wait.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chassis.blocking import Pool
from chassis.logs import logger
from chassis.operations import Operations
from chassis.stages import stage
from execd import statistics
from execd.logs import fluentd, journald, options, syslog, tag
from execd.logs.destination import Destination
from execd.logs.files import LogFiles
from execd.logs.read import first_of
from execd.logs.record import Record, parse
from execd.logs.watch import Watches
from execd.places import Places
from execd.records import Entry
from pier.exec.v1 import exec_pb2

_RETRY: Final = 0.1
_RETRY_MAX: Final = 10.0
"""Seconds: 0.1, 0.2, 0.4 … 10 between two tries."""
_FLUSH: Final = 10.0
RESTARTING: Final = exec_pb2.CONTAINER_STATE_RESTARTING


@dataclass
class Sending:
    """The state of one container's. ``error`` is the destination's last, "" where it takes what it is sent."""

    task: asyncio.Task[object] | None = None
    error: str = ""
    lost: int = 0


@dataclass(frozen=True)
class _Piece:
    """Some records, and the position behind them."""

    records: Sequence[Record]
    position: int
    missed: int


class Forwards:
    """All sendings. ``on_lost(entry, bytes)`` is told what no destination will get."""

    def __init__(
        self, places: Places, pool: Pool, watches: Watches, operations: Operations, journal: Path,
        on_lost: Callable[[Entry, int], None],
    ) -> None:
        self._places = places
        self._pool = pool
        self._watches = watches
        self._operations = operations
        self._journal = journal
        self._on_lost = on_lost
        self._sendings: dict[str, Sending] = {}

    def follow(self, entry: Entry) -> None:
        """Send what the container logs from now on, and what has not been sent yet. Nothing with another driver."""
        if not options.judge(entry.container.spec.log).is_sent:
            return
        sending = self._sendings.setdefault(entry.id, Sending())
        if sending.task is None or sending.task.done():
            sending.task = self._operations.spawn("log.forward", lambda: self._follow(entry, sending))

    def error_of(self, container_id: str) -> str:
        """Why its destination takes nothing now; "" where it does."""
        sending = self._sendings.get(container_id)
        return sending.error if sending else ""

    def failing(self) -> int:
        """How many destinations take nothing now."""
        return sum(1 for sending in list(self._sendings.values()) if sending.error)

    async def drop(self, entry: Entry) -> None:
        """The container goes: send its rest, unless the destination is away, and count what stays unsent."""
        sending = self._sendings.pop(entry.id, None)
        if sending is None or sending.task is None:
            return
        async with stage("remove.flush_log"):
            for _ in range(int(_FLUSH / 0.01)):
                if sending.task.done() or sending.error:
                    break
                await asyncio.wait([sending.task], timeout=0.01)
        sending.task.cancel()
        await asyncio.gather(sending.task, return_exceptions=True)
        left = await self._pool.run(self._left, entry)
        if left > 0:
            self._lose(entry, left)

    def _left(self, entry: Entry) -> int:
        files = LogFiles(self._places.log(entry.id))
        return files.end() - read_position(self._places.sent(entry.id))

    def _lose(self, entry: Entry, count: int) -> None:
        statistics.LOG_UNSENT.inc(count)
        logger().error("a part of a log was not sent", container=entry.id, bytes=count)
        self._on_lost(entry, count)

    async def _follow(self, entry: Entry, sending: Sending) -> None:
        files = LogFiles(self._places.log(entry.id))
        with ExitStack() as stack:
            stack.callback(files.close)
            try:
                changed = stack.enter_context(self._watches.watching(self._places.home(entry.id)))
            except FileNotFoundError:
                return  # it never logged, or was removed
            await self._pool.run(files.seek, read_position(self._places.sent(entry.id)))
            sender = _Sender(self, entry, sending, files)
            stack.callback(sender.close)
            while True:
                last_round = not (entry.is_running() or entry.state == RESTARTING)
                changed.clear()
                blocks = files.blocks()
                while (piece := await self._pool.run(_piece, files, blocks)) is not None:
                    if piece.missed:
                        self._lose(entry, piece.missed)
                    await sender.send(piece)
                if last_round or entry.removed:
                    return
                if entry.is_running() or entry.state == RESTARTING:
                    await first_of(changed.wait(), entry.changed())

    def destination(self, entry: Entry) -> Destination:
        """A new one, by the container's driver and options."""
        container = entry.container
        log = container.spec.log
        name = tag.tag(container, log.options)
        more = tag.attributes(container, log.options)
        if log.driver == "syslog":
            return syslog.Syslog(syslog.settings(log.options), name)
        if log.driver == "fluentd":
            return fluentd.Fluentd(
                fluentd.settings(log.options), name, fluentd.facts(container.id, container.name, more)
            )
        return journald.Journald(self._journal, journald.facts(
            container.id, container.name, container.spec.image, name, more
        ))

    async def remember(self, entry: Entry, position: int) -> None:
        """Keep how far the destination has everything."""
        await self._pool.run(write_position, self._places.sent(entry.id), position)

    def give_up(self, entry: Entry, count: int) -> None:
        """``count`` bytes more than may wait are not sent."""
        self._lose(entry, count)


class _Sender:
    """One container's way to its destination, made anew after each failure."""

    def __init__(
        self, forwards: Forwards, entry: Entry, sending: Sending, files: LogFiles
    ) -> None:
        self._forwards = forwards
        self._entry = entry
        self._sending = sending
        self._files = files
        self._behind = options.judge(entry.container.spec.log).behind
        self._destination: Destination | None = None
        self._sent = files.position

    def close(self) -> None:
        if self._destination is not None:
            self._destination.close()
            self._destination = None

    async def send(self, piece: _Piece) -> None:
        """Return when the destination has it, or when it was given up since more waits behind it than may."""
        pause = _RETRY
        while True:
            try:
                if self._destination is None:
                    self._destination = self._forwards.destination(self._entry)
                    await self._destination.open()
                if piece.records:
                    await self._destination.send(piece.records)
            except OSError as error:
                self._failed(error)
            else:
                self._succeeded()
                await self._forwards.remember(self._entry, piece.position)
                self._sent = piece.position
                return
            if self._behind is not None and self._files.end() - self._sent > self._behind:
                self._forwards.give_up(self._entry, piece.position - self._sent)
                await self._forwards.remember(self._entry, piece.position)
                self._sent = piece.position
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _RETRY_MAX)

    def _failed(self, error: OSError) -> None:
        self.close()
        text = error.strerror or str(error) or type(error).__name__
        if not self._sending.error:
            logger().warning("a log's destination does not take what it is sent", container=self._entry.id,
                             driver=self._entry.container.spec.log.driver, error=text)
        self._sending.error = text

    def _succeeded(self) -> None:
        if self._sending.error:
            logger().info("a log's destination is there again", container=self._entry.id)
            self._sending.error = ""


def _piece(files: LogFiles, blocks: Iterator[list[bytes]]) -> _Piece | None:
    """What is to be sent next; None where there is nothing more for now."""
    block = next(blocks, None)
    missed, files.missed = files.missed, 0
    if block is None and not missed:
        return None
    records = [record for line in block or () if (record := parse(line)) is not None]
    return _Piece(records, files.position, missed)


def read_position(path: Path) -> int:
    """0 where nothing was sent yet."""
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return 0


def write_position(path: Path, position: int) -> None:
    """Replace what is there. Not synced: after a power cut some records are sent again."""
    fresh = path.with_suffix(".new")
    fresh.write_text(str(position))
    os.replace(fresh, path)
