"""Reading a container's json-file log: the last records, a span of time, or on as it grows, across rotations."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from chassis import kernel
from chassis.blocking import Pool
from chassis.events import timestamp
from execd.records import Entry
from pier.exec.v1 import exec_pb2

_BATCH: Final = 512 << 10
_BLOCK: Final = 256 << 10
_STREAMS: Final = {"stdout": 1, "stderr": 2}
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z")


@dataclass(frozen=True)
class Wanted:
    """Which records: of these streams, from ``since`` to ``until`` in nanoseconds (None: open), the last ``tail``."""

    streams: frozenset[int]
    since: int | None
    until: int | None
    tail: int | None


class LogFiles:
    """The files of one log as a single sequence of lines, oldest first: path.N … path.1, path. An open file is read to
    its end before the next, whatever it is called by then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int = -1
        self._rest = b""

    def begin(self, tail: int | None) -> None:
        """Stand before the last ``tail`` records, or at the beginning."""
        files = self._present()
        if tail is None:
            self._open(files[0] if files else None, 0)
            return
        left = tail
        for path in reversed(files):
            offset, found = _last_lines(path, left)
            left -= found
            if left <= 0 or path == files[0]:
                self._open(path, offset)
                return
        self._open(None, 0)

    def lines(self) -> Iterator[bytes]:
        """Whole lines until nothing more is there for now."""
        while True:
            if self._file < 0:
                files = self._present()
                if not files:
                    return
                self._open(files[0], 0)
            while block := os.read(self._file, _BLOCK):
                *whole, self._rest = (self._rest + block).split(b"\n")
                yield from whole
            following = self._next()
            if following is None:
                return
            # The writer may have added to it between our last read and its rotation.
            if block := os.read(self._file, _BLOCK):
                *whole, self._rest = (self._rest + block).split(b"\n")
                yield from whole
                continue
            self._open(following, 0)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _present(self) -> list[Path]:
        numbered = [
            (int(path.suffix[1:]), path)
            for path in self._path.parent.glob(self._path.name + ".*") if path.suffix[1:].isdigit()
        ]
        files = [path for _, path in sorted(numbered, reverse=True)]
        return [*files, self._path] if self._path.exists() else files

    def _next(self) -> Path | None:
        """The file after the open one; None where that is still the newest."""
        own = os.fstat(self._file).st_ino
        files = self._present()
        for index, path in enumerate(files):
            try:
                if path.stat().st_ino == own:
                    return files[index + 1] if index + 1 < len(files) else None
            except FileNotFoundError:
                continue
        return files[0] if files else None

    def _open(self, path: Path | None, offset: int) -> None:
        self.close()
        self._rest = b""
        if path is not None:
            self._file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            os.lseek(self._file, offset, os.SEEK_SET)


def _last_lines(path: Path, count: int) -> tuple[int, int]:
    """(offset of the last ``count`` lines, how many there are of them)."""
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        if count <= 0:
            return position, 0
        newlines = 0
        end = position
        while position > 0:
            step = min(_BLOCK, position)
            position -= step
            file.seek(position)
            block = file.read(step)
            at = len(block)
            while (at := block.rfind(b"\n", 0, at)) >= 0:
                if position + at + 1 == end:
                    continue  # the last line's own
                newlines += 1
                if newlines == count:
                    return position + at + 1, count
        return 0, newlines + (end > 0)


def parse(line: bytes) -> tuple[int, int, bytes] | None:
    """(time in nanoseconds, stream, data) of a record; None for a line that is none."""
    try:
        record = json.loads(line)
        match = _TIME.fullmatch(record["time"])
        stream = _STREAMS[record["stream"]]
        data = record["log"].encode("utf-8", "surrogateescape")
    except (ValueError, KeyError, TypeError):
        return None
    if match is None:
        return None
    seconds = int(datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp())
    return seconds * 10**9 + int((match[2] or "").ljust(9, "0")), stream, data


class Inotify:
    """Tells when something in a directory changes."""

    def __init__(self, directory: Path) -> None:
        self._fd = kernel.inotify_init()
        kernel.inotify_add_watch(
            self._fd, os.fsencode(directory), kernel.IN_MODIFY | kernel.IN_CREATE | kernel.IN_MOVED_TO
        )
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        os.read(self._fd, 65536)
        self._changed.set()

    def clear(self) -> None:
        self._changed.clear()

    async def changed(self) -> None:
        await self._changed.wait()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)


async def read(
    entry: Entry, path: Path, wanted: Wanted, follow: bool, pool: Pool
) -> AsyncIterator[exec_pb2.ReadLogsResponse]:
    """Batches of at most about a mebibyte. With ``follow`` until the container does not run and all is read."""
    if not path.parent.exists():
        return
    files = LogFiles(path)
    watch = Inotify(path.parent) if follow else None
    try:
        await pool.run(files.begin, wanted.tail)
        lines = files.lines()
        while True:
            last_round = watch is None or not entry.is_running()
            if watch is not None:
                watch.clear()
            over = False
            while not over:
                batch, more, over = await pool.run(_batch, lines, wanted)
                if batch.records:
                    yield batch
                if not more:
                    break
            if over or last_round or watch is None:
                return
            lines = files.lines()
            if entry.is_running():
                await _first(watch.changed(), entry.changed())
    finally:
        if watch is not None:
            watch.close()
        files.close()


def _batch(lines: Iterator[bytes], wanted: Wanted) -> tuple[exec_pb2.ReadLogsResponse, bool, bool]:
    """(records, whether more may be there now, whether ``until`` has passed)."""
    batch = exec_pb2.ReadLogsResponse()
    size = 0
    for line in lines:
        parsed = parse(line)
        if parsed is None:
            continue
        time_ns, stream, data = parsed
        if wanted.until is not None and time_ns > wanted.until:
            return batch, False, True
        if stream not in wanted.streams or (wanted.since is not None and time_ns < wanted.since):
            continue
        batch.records.add(time=timestamp(time_ns), stream=stream, data=data)
        size += len(data) + 32
        if size >= _BATCH:
            return batch, True, False
    return batch, False, False


async def _first(*waits: object) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]  # type: ignore[call-overload]  # coroutines, all of them
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
