"""Old log files made small, as the shim's rotation leaves them: the shim goes on, and needs no memory for it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from isal import igzip

from chassis.blocking import Pool
from chassis.logs import logger
from chassis.operations import Operations
from execd.logs import options
from execd.logs.files import parts_of
from execd.places import Places
from execd.records import Entry
from execd.shim.jsonlog import COMPRESSED, START

_COPY: Final = 1 << 20
_LEVEL: Final = 2
_gzip: Final[Callable[..., igzip.IGzipFile]] = igzip.IGzipFile


class Compression:
    """One thread for all containers."""

    def __init__(self, places: Places, operations: Operations) -> None:
        self._places = places
        self._operations = operations
        self._pool = Pool("compress", 1)

    def catch_up(self, entry: Entry) -> None:
        """Compress the old files of a log whose options ask for it."""
        if options.judge(entry.container.spec.log).compress:
            self._operations.spawn("log.compress", lambda: self._catch_up(entry))

    def close(self) -> None:
        self._pool.close()

    async def _catch_up(self, entry: Entry) -> None:
        try:
            await self._pool.run(compress_old, self._places.log(entry.id))
        except OSError as error:
            logger().warning("an old log file stays as it is", container=entry.id, error=error.strerror)


def compress_old(path: Path) -> None:
    """Every old file of the log ``path``, oldest first. OSError where the disk is full: the file stays as it was."""
    for part in parts_of(path)[:-1]:
        # One that does not say where it begins is of a shim that would not take a compressed one along.
        if not part.is_compressed and part.path != path and part.start is not None:
            with contextlib.suppress(FileNotFoundError):  # rotated away meanwhile, or removed with its container
                _compress(part.path, path)


def _compress(part: Path, path: Path) -> None:
    fresh = path.with_name(path.name + COMPRESSED + ".new")
    try:
        with part.open("rb") as source, _gzip(fresh, "wb", _LEVEL) as target:
            shutil.copyfileobj(source, target, _COPY)
            os.setxattr(fresh, START, os.getxattr(source.fileno(), START))
            os.chmod(fresh, 0o600)
            inode = os.fstat(source.fileno()).st_ino
        _exchange(inode, fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def _exchange(inode: int, fresh: Path, path: Path) -> None:
    """``fresh`` for the old file with ``inode``, whatever that is called by now: the shim may have rotated."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        for part in parts_of(path):
            if part.path != path and part.path.stat().st_ino == inode:
                fresh.rename(part.path.with_name(part.path.name + COMPRESSED))
                part.path.unlink()
                return
    finally:
        os.close(directory)
