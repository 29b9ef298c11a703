"""Secrets: values that a command sees in a file, which is on a tmpfs, and no longer there than the command runs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from buildd.state import State
from chassis.errors import Unavailable
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
    if not _is_tmpfs(path.parent):
        raise Unavailable(f"{path.parent} is not on a tmpfs: a secret would come on a disk", reason="NO_TMPFS")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(value)
        while view:
            view = view[os.write(fd, view):]
        os.fchown(fd, owner.uid, owner.gid)
        os.fchmod(fd, owner.mode & 0o777)
    finally:
        os.close(fd)


def _is_tmpfs(directory: Path) -> bool:
    """By the line of its device in /proc/self/mountinfo (proc_pid_mountinfo(5))."""
    device = directory.stat().st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2] == name:
            return after.split()[0] in ("tmpfs", "ramfs")
    return False


def sweep(paths: Iterable[Path]) -> None:
    """What an earlier life has left."""
    for path in paths:
        path.unlink(missing_ok=True)
