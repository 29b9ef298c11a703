"""Row 80: a root file system's upper directory has one overlay over it at any time, whoever asks for what, and when."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import pytest

from chassis import programs
from chassis.errors import Conflict, NotModified
from execd.archive.archives import Archives
from execd.records import Entry, Records
from execd.start import Starts
from pier.exec.v1 import exec_pb2

_TRIES = 1000
_RUNNING = exec_pb2.CONTAINER_STATE_RUNNING
_EXITED = exec_pb2.CONTAINER_STATE_EXITED
_STAT = {"name": "x", "size": 1, "mode": 0o100644, "link_target": "", "mtime": 1}


class Upper:
    """The directory: whoever mounts it says so here."""

    def __init__(self) -> None:
        self.mounted = 0
        self.copies = 0
        self.lives = 0

    @contextmanager
    def overlay(self) -> Iterator[None]:
        assert not self.mounted, "two overlays share an upper directory"
        self.mounted += 1
        try:
            yield
        finally:
            self.mounted -= 1


class Lives(Starts):
    """Starts whose lives have no process: their overlay is there until ``end``."""

    def __init__(self, records: Records, upper: Upper, chance: random.Random) -> None:
        self._records, self._upper, self._chance = records, upper, chance
        self._life: Any = None

    async def _start(
        self, entry: Entry, request: exec_pb2.StartContainerRequest, *, by_hand: bool = True
    ) -> exec_pb2.Container:
        await pause(self._chance)
        self._life = self._upper.overlay()
        self._life.__enter__()
        self._upper.lives += 1
        await pause(self._chance)
        entry.pidfd = os.pidfd_open(os.getpid())
        entry.container.status.state = _RUNNING
        return entry.container

    async def end(self, entry: Entry) -> None:
        """As execd records an end: under the container's lock."""
        async with entry.lock:
            if entry.is_running():
                await pause(self._chance)
                self._life.__exit__(None, None, None)
                os.close(entry.pidfd)
                entry.pidfd, entry.container.status.state = -1, _EXITED


async def pause(chance: random.Random) -> None:
    for _ in range(chance.randrange(4)):
        await asyncio.sleep(0)


class _Process:
    def __init__(self) -> None:
        self.stdout = asyncio.StreamReader()
        self.stdout.feed_data(json.dumps(_STAT).encode() + b"\n")
        self.stdout.feed_eof()


def _copier(upper: Upper, chance: random.Random) -> Any:
    @asynccontextmanager
    async def running(_file: object, request: dict[str, Any], _fds: object = ()) -> AsyncIterator[_Process]:
        """The program of a copy: into a life's own mounts by its pidfd, or over mounts of its own."""
        upper.copies += 1
        if "pidfd" in request:
            await pause(chance)
            yield _Process()
            return
        with upper.overlay():
            await pause(chance)
            yield _Process()
            await pause(chance)

    return running


class _Records:
    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    def need(self, _container: str) -> Entry:
        return self._entry


async def test_80_a_start_beside_copies_finds_one_writer_a_thousand_times(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = int(os.environ.get("PIER_TEST_SEED", str(random.SystemRandom().randrange(1 << 32))))
    print(f"PIER_TEST_SEED={seed}")
    chance, upper = random.Random(seed), Upper()
    container = exec_pb2.Container(id="c")
    container.status.state = _EXITED
    entry = Entry(container, b"", "")
    records = cast(Records, _Records(entry))
    monkeypatch.setattr(programs, "running", _copier(upper, chance))
    archives = Archives(records, cast(Any, None))
    monkeypatch.setattr(archives, "_mounts", lambda _entry: {})
    lives = Lives(records, upper, chance)
    for attempt in range(_TRIES):
        request = exec_pb2.StartContainerRequest(id="c", operation_id=str(attempt))
        work = [lives.start(request), lives.end(entry), lives.end(entry),
                *(archives.stat(exec_pb2.StatPathRequest(id="c", path=b"/x")) for _ in range(3))]
        chance.shuffle(work)
        for result in await asyncio.gather(*work, return_exceptions=True):
            assert not isinstance(result, BaseException) or isinstance(result, Conflict | NotModified), repr(result)
    await lives.end(entry)
    assert upper.mounted == 0
    assert upper.copies == 3 * _TRIES
    assert upper.lives > _TRIES // 3
