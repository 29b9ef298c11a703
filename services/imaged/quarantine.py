"""Where blobs go that are not what their digest says: kept for people to look at, read by nobody.

A blob that something refers to is never deleted for being damaged. It leaves the content store by a rename, so that
nothing is made of wrong bytes, and stays here with a note of why until the right ones come or nothing wants it any
more. All calls block: they belong in a thread pool.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from chassis.errors import InvalidArgument
from chassis.ids import Digest
from chassis.ids import digest as check_digest
from chassis.instance import make_private

_NOTE: Final = ".json"


class Note(msgspec.Struct, frozen=True):
    """Why a blob is here: one sentence, and since when in nanoseconds of the epoch."""

    reason: str
    since_ns: int


class Quarantine:
    """The blobs set aside in ``directory``, which belongs to it alone."""

    def __init__(self, directory: Path) -> None:
        make_private(directory)
        self._directory = directory
        self.count = sum(1 for _ in self)
        """How many there are, for whoever may not read directories."""

    def take(self, file: Path, digest: Digest, reason: str) -> None:
        """Move ``file``, of this file system, in."""
        note = self._path(digest).with_suffix(_NOTE)
        note.write_bytes(msgspec.json.encode(Note(reason, time.time_ns())))
        os.rename(file, self._path(digest))
        self.count = sum(1 for _ in self)

    def drop(self, digest: Digest) -> int:
        """Delete the blob; the bytes that this freed, 0 where it is not here."""
        path, freed = self._path(digest), 0
        with contextlib.suppress(FileNotFoundError):
            freed = path.stat().st_size
            path.unlink()
            self.count = sum(1 for _ in self)
        path.with_suffix(_NOTE).unlink(missing_ok=True)
        return freed

    def note(self, digest: Digest) -> Note | None:
        """Why the blob is here; None where it is not. One that was put here by hand has no reason."""
        path = self._path(digest)
        if not path.exists():
            return None
        with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
            return msgspec.json.decode(path.with_suffix(_NOTE).read_bytes(), type=Note)
        return Note("nobody noted why", int(path.stat().st_mtime_ns))

    def __iter__(self) -> Iterator[Digest]:
        for name in sorted(os.listdir(self._directory)):
            with contextlib.suppress(InvalidArgument):
                yield check_digest("sha256:" + name)

    def _path(self, digest: Digest) -> Path:
        return self._directory / digest.removeprefix("sha256:")
