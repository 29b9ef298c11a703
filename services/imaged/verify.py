"""Reads what is stored and tells what is not as it was: blobs by their digests, layers by the sizes of their files.

A layer's own digest is that of its tar, which cannot be had back from its files; what is compared is the sum of their
sizes, and that costs one look at each file and no read. Reading goes on at a bounded rate and in pieces, so that it
takes little memory and can be ended at any moment.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from chassis.errors import NotFound
from chassis.ids import Digest
from imaged import catalog
from imaged.catalog import LayerRow
from imaged.state import State
from imaged.unbroken import acquire, unbroken

_PIECE: Final = 1 << 20
_AT_ONCE: Final = 16
"""Pieces that a thread reads in one go."""


@dataclass(frozen=True)
class Damaged:
    """A blob whose file ``inode`` is not what its digest says; ``reason`` says what it is instead."""

    digest: Digest
    inode: int
    reason: str


@dataclass(frozen=True)
class Changed:
    """A layer whose files have ``size`` bytes together, which is not what was unpacked."""

    row: LayerRow
    size: int


class Pace:
    """Holds a reader to ``rate`` bytes a second; 0 is no limit."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._due = time.monotonic()

    async def read(self, count: int) -> None:
        """``count`` bytes were read: wait until that many may have been."""
        if self._rate:
            self._due += count / self._rate
            await asyncio.sleep(max(0.0, self._due - time.monotonic()))


async def damaged_blobs(state: State) -> AsyncIterator[Damaged]:
    """Every blob that is here is read."""
    pace = Pace(state.settings.fsck_rate)
    for digest in await state.files.run(lambda: list(state.blobs)):
        async with state.gate.pinned([digest]):
            try:
                fd = await acquire(state.files, lambda one=digest: state.blobs.open(one), os.close)  # type: ignore[misc]
            except NotFound:
                continue  # swept since
            try:
                damaged = await _damaged(state, digest, fd, pace)
            finally:
                os.close(fd)
        if damaged is not None:
            yield damaged


async def _damaged(state: State, digest: Digest, fd: int, pace: Pace) -> Damaged | None:
    hasher = hashlib.sha256()

    def go_on() -> int:
        count = 0
        for _ in range(_AT_ONCE):
            part = os.read(fd, _PIECE)
            if not part:
                break
            hasher.update(part)
            count += len(part)
        return count

    inode = os.fstat(fd).st_ino
    try:
        while count := await unbroken(state.files.run(go_on)):
            await pace.read(count)
    except OSError as error:
        return Damaged(digest, inode, f"it cannot be read: {error.strerror}")
    found = "sha256:" + hasher.hexdigest()
    return None if found == digest else Damaged(digest, inode, f"its bytes have the digest {found}")


async def changed_layers(state: State) -> AsyncIterator[Changed]:
    """Every layer that is unpacked is looked through."""
    for row in await state.store.read(catalog.layers):
        async with state.gate.pinned([row.chain_id]):
            try:
                size = await state.files.run(state.layers.content, row.chain_id)
            except FileNotFoundError:
                continue  # another finding, or swept since
        if size != row.size:
            yield Changed(row, size)
