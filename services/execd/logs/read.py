"""ReadLogs: the last records, a span of time, or on as the log grows, across rotations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chassis import attach
from chassis.blocking import Pool
from chassis.events import timestamp
from execd.logs.files import LogFiles
from execd.logs.record import content, parse
from execd.logs.watch import Watches
from execd.records import Entry
from pier.exec.v1 import exec_pb2

_BATCH: Final = 512 << 10
RECORDS: Final = (exec_pb2.LOG_FORM_UNSPECIFIED, exec_pb2.LOG_FORM_RECORDS)


@dataclass(frozen=True)
class Wanted:
    """Which records: of these streams, from ``since`` to ``until`` in nanoseconds (None: open), the last ``tail``; with
    their attributes where ``details`` are asked for, or their data alone in another ``form``."""

    streams: frozenset[int]
    since: int | None
    until: int | None
    tail: int | None
    details: bool = False
    form: exec_pb2.LogForm.ValueType = exec_pb2.LOG_FORM_RECORDS


async def read(
    entry: Entry, path: Path, wanted: Wanted, follow: bool, pool: Pool, watches: Watches
) -> AsyncIterator[exec_pb2.ReadLogsResponse]:
    """Batches of at most about a mebibyte. With ``follow`` until the container does not run and all is read."""
    if not path.parent.exists():
        return
    files, in_records = LogFiles(path), wanted.form in RECORDS
    with ExitStack() as stack:
        stack.callback(files.close)
        changed = stack.enter_context(watches.watching(path.parent)) if follow else None
        await pool.run(files.begin, wanted.tail, wanted.since)
        while True:
            last_round = changed is None or not entry.is_running()
            if changed is not None:
                changed.clear()
            lines = files.lines()
            over, more = False, True
            while more and not over:
                batch, more, over = await pool.run(_batch if in_records else _pieces, lines, wanted)
                if batch.records or batch.data:
                    yield batch
            if over or last_round or changed is None:
                return
            if entry.is_running():
                await first_of(changed.wait(), entry.changed())


def _batch(lines: Iterator[bytes], wanted: Wanted) -> tuple[exec_pb2.ReadLogsResponse, bool, bool]:
    """(records, whether more may be there now, whether ``until`` has passed)."""
    batch = exec_pb2.ReadLogsResponse()
    size = 0
    for line in lines:
        record = parse(line)
        if record is None:
            continue
        if wanted.until is not None and record.time > wanted.until:
            return batch, False, True
        if record.stream not in wanted.streams or (wanted.since is not None and record.time < wanted.since):
            continue
        added = batch.records.add(time=timestamp(record.time), stream=record.stream, data=record.data)
        if wanted.details:
            added.attributes.update(record.attributes)
        size += len(record.data) + 32
        if size >= _BATCH:
            return batch, True, False
    return batch, False, False


def _pieces(lines: Iterator[bytes], wanted: Wanted) -> tuple[exec_pb2.ReadLogsResponse, bool, bool]:
    """As ``_batch``, of data alone. Times are looked at only where they count."""
    pieces, size, over, more = list[bytes](), 0, False, False
    framed, timed = wanted.form == exec_pb2.LOG_FORM_FRAMES, (wanted.since, wanted.until) != (None, None)
    for line in lines:
        if timed:
            record = parse(line)
            if record is not None and wanted.until is not None and record.time > wanted.until:
                over = True
                break
            if record is None or (wanted.since is not None and record.time < wanted.since):
                continue
            found: tuple[int, bytes] | None = record.stream, record.data
        else:
            found = content(line)
        if found is None or found[0] not in wanted.streams:
            continue
        stream, data = found
        if framed:
            pieces.append(attach.frame(stream, len(data)))
        pieces.append(data)
        size += len(data) + attach.HEADER.size
        if size >= _BATCH:
            more = True
            break
    return exec_pb2.ReadLogsResponse(data=b"".join(pieces)), more, over


async def first_of(*waits: object) -> None:
    """Return when one of the coroutines has; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]  # type: ignore[call-overload]  # coroutines, all of them
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
