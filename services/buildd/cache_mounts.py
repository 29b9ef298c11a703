"""Directories of `RUN --mount=type=cache`: kept between builds, each a writable snapshot of imaged's with a record.

One that is `from` a stage or an image begins with what is there, and is another than the one that begins empty.
`shared` ones are used by any number of commands at once, a `locked` one by one after the other, and a `private` one is
another directory where the first is taken.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from buildd import records, snapshots
from buildd.build import Build
from buildd.dockerfile.instructions import Mount
from buildd.records import Inputs, Record
from buildd.snapshots import Ground
from chassis.stages import stage
from chassis.tar import Entry, Kind
from pier.image.v1 import image_pb2 as pb

PREFIX: Final = "cache-"
"""Of the keys of their snapshots."""
_DIRECTORY: Final = b"directory"
_MODE: Final = 0o755


@asynccontextmanager
async def held(
    build: Build, mount: Mount, target: str, files: pb.FileSelection | None, digest: str
) -> AsyncIterator[bytes]:
    """The path of the directory, for a command that uses it as ``mount`` says. ``files``, whose digest is ``digest``,
    are what it begins with."""
    async with AsyncExitStack() as stack:
        key = _key(build, mount, target, digest)
        if mount.sharing == "private":
            key = next(each for number in itertools.count() if (each := f"{key}-{number}") not in build.state.taken)
            build.state.taken.add(key)
            stack.callback(build.state.taken.discard, key)
        elif mount.sharing == "locked":
            await stack.enter_async_context(build.state.locks.hold(f"use:{key}"))
        async with stage("build.cache_mount", id=mount.id or target):
            await _make(build, key, mount, target, files)
        yield await snapshots.upper(build.state, key) + b"/" + _DIRECTORY


def _key(build: Build, mount: Mount, target: str, digest: str) -> str:
    """Caches of another owner are others: what one user of the directory wrote, the other could not."""
    words = [build.namespace, mount.id or target, str(mount.uid or 0), str(mount.gid or 0),
             *([f"mode {mount.mode:o}"] if mount.mode not in (None, _MODE) else []), *([digest] if digest else [])]
    return PREFIX + hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()


async def _make(build: Build, key: str, mount: Mount, target: str, files: pb.FileSelection | None) -> None:
    state = build.state
    build.hold([key])
    async with state.locks.hold(key):
        if await state.store.read(lambda connection: records.find(connection, key)) is not None:
            return
        owner = snapshots.owner(state, build.namespace, key)
        await snapshots.prepared(state, pb.PrepareSnapshotRequest(key=key, owner=owner), Ground(""))
        directory = Entry(_DIRECTORY, Kind.DIRECTORY, _MODE if mount.mode is None else mount.mode & 0o7777,
                          mount.uid or 0, mount.gid or 0)
        await snapshots.put_files(state, key, [(directory, b"")], momentary=False)
        if files is not None:
            await snapshots.copy(state, pb.CopyFilesRequest(
                files=files, key=key, target=b"/" + _DIRECTORY + b"/", keep_owners=True))
        record = Record(
            key=key, type=records.CACHE_MOUNT, parent="", place="", snapshot=key, created_ns=time.time_ns(),
            inputs=Inputs(ground="", instruction=f"cached mount {target} id {mount.id or target}"),
        )
        await state.store.write("build.record", lambda connection: records.put(connection, record))
