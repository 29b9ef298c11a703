"""What is being made is not swept: pins."""

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
