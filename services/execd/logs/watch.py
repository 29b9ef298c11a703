"""Who waits for a log to grow: one inotify descriptor for all containers, since a user has few of them."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from chassis import kernel

_EVENT: Final = struct.Struct("iIII")
_READ: Final = 256 << 10
_OVERFLOW: Final = -1


class Changed:
    """Set when something in the directory has changed since ``clear``."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def clear(self) -> None:
        self._event.clear()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()


class Watches:
    """Made on the loop; ``close`` at the end."""

    def __init__(self) -> None:
        self._fd = kernel.inotify_init()
        self._waiting: dict[int, set[Changed]] = {}
        asyncio.get_running_loop().add_reader(self._fd, self._readable)

    @contextmanager
    def watching(self, directory: Path) -> Iterator[Changed]:
        """Changes in ``directory`` while the block runs. OSError where it is not there."""
        changed = Changed()
        watch = kernel.inotify_add_watch(
            self._fd, os.fsencode(directory), kernel.IN_MODIFY | kernel.IN_CREATE | kernel.IN_MOVED_TO
        )
        self._waiting.setdefault(watch, set()).add(changed)
        try:
            yield changed
        finally:
            left = self._waiting.get(watch)
            if left is not None:
                left.discard(changed)
                if not left:
                    del self._waiting[watch]
                    kernel.inotify_rm_watch(self._fd, watch)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def _readable(self) -> None:
        data = os.read(self._fd, _READ)
        at = 0
        while at < len(data):
            watch, mask, _cookie, size = _EVENT.unpack_from(data, at)
            at += _EVENT.size + size
            if watch == _OVERFLOW:
                for waiting in self._waiting.values():
                    _set(waiting)
            elif mask & kernel.IN_IGNORED:
                _set(self._waiting.pop(watch, set()))
            else:
                _set(self._waiting.get(watch, set()))


def _set(waiting: set[Changed]) -> None:
    for changed in waiting:
        changed.set()
