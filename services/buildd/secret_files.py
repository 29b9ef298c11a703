"""Secrets: values that a command sees in a file, which is on a tmpfs, and no longer there than the command runs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from buildd.state import State
from chassis import tmpfs
from chassis.ids import new_id

_MODE: Final = 0o400


@dataclass(frozen=True)
class Owner:
    """Of a secret's file."""

    uid: int = 0
    gid: int = 0
    mode: int = _MODE


@asynccontextmanager
async def file(state: State, value: bytes, owner: Owner) -> AsyncIterator[Path]:
    """A file with the value, whose name nobody can guess; gone after the block. Unavailable (NO_TMPFS)."""
    path = state.secrets / new_id()
    try:
        await state.files.run(_write, path, value, owner)
        yield path
    finally:
        await state.files.run(path.unlink, missing_ok=True)


def _write(path: Path, value: bytes, owner: Owner) -> None:
    tmpfs.need(path.parent)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(value)
        while view:
            view = view[os.write(fd, view):]
        os.fchown(fd, owner.uid, owner.gid)
        os.fchmod(fd, owner.mode & 0o777)
    finally:
        os.close(fd)


def sweep(paths: Iterable[Path]) -> None:
    """What an earlier life has left."""
    for path in paths:
        path.unlink(missing_ok=True)
