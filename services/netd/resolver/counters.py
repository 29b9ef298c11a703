"""What the resolver has done, in a file that netd reads when it is scraped: nobody is asked, nobody waits."""

from __future__ import annotations

import mmap
import os
import struct
import threading
from typing import Final

NAMES: Final = ("own", "forwarded", "failed", "refused", "malformed")
"""Queries: answered from names; answered by a resolver; that no resolver answered; that had nowhere to go (an internal
network, too many at once); that were none."""
_WORDS: Final = struct.Struct(f"={len(NAMES)}Q")


class Counters:
    """The resolver's side: each name of NAMES counts up from 0."""

    def __init__(self, path: str) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, _WORDS.size)
            self._memory = mmap.mmap(fd, _WORDS.size)
        finally:
            os.close(fd)
        self._words = memoryview(self._memory).cast("Q")
        self._lock = threading.Lock()

    def count(self, name: str) -> None:
        with self._lock:
            self._words[NAMES.index(name)] += 1


def read(path: str) -> dict[str, int]:
    """The counts; all 0 where no resolver has run."""
    try:
        with open(path, "rb") as file:
            return dict(zip(NAMES, _WORDS.unpack(file.read()), strict=True))
    except (OSError, struct.error):
        return dict.fromkeys(NAMES, 0)
