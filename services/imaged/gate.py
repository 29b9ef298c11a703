"""What is being made is not swept: pins, and locks by name."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager


class Gate:
    """Between those who make things and the sweep. A thing is pinned before it is looked for; a sweep removes nothing
    that is pinned, and while it removes, pinning waits. So what was found stays."""

    def __init__(self) -> None:
        self._pins: Counter[str] = Counter()
        self._sweep = asyncio.Lock()

    @asynccontextmanager
    async def pinned(self, names: Iterable[str]) -> AsyncIterator[None]:
        """Blobs and layers (by digest) that are not swept while this lasts."""
        own = list(names)
        async with self._sweep:
            self._pins.update(own)
        try:
            yield
        finally:
            self._pins.subtract(own)
            self._pins += Counter()

    @asynccontextmanager
    async def sweeping(self) -> AsyncIterator[frozenset[str]]:
        """What is pinned; nothing else becomes so while this lasts."""
        async with self._sweep:
            yield frozenset(self._pins)


class NamedLocks:
    """A lock for each name that somebody holds or waits for."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    def names(self) -> set[str]:
        """Names that are held or waited for."""
        return set(self._locks)

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        lock, users = self._locks.get(name, (asyncio.Lock(), 0))
        self._locks[name] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(name)
            if users > 1:
                self._locks[name] = (lock, users - 1)
