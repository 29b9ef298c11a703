"""Directories of `RUN --mount=type=cache`: kept between builds, each a writable snapshot of imaged's with a record.

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
from chassis.errors import Unimplemented
from chassis.stages import stage
from pier.image.v1 import image_pb2 as pb

PREFIX: Final = "cache-"
"""Of the keys of their snapshots."""
_DIRECTORY: Final = b"directory"


@asynccontextmanager
async def held(build: Build, mount: Mount, target: str) -> AsyncIterator[bytes]:
    """The path of the directory, for a command that uses it as ``mount`` says."""
    if mount.from_ or mount.source:
        raise Unimplemented("--mount=type=cache with from or source is not supported yet", reason="NOT_BUILT",
                            field="--mount", expected="a cache that begins empty")
    if mount.mode not in (None, 0o755):
        raise Unimplemented("--mount=type=cache with another mode than 0755 is not supported yet", reason="NOT_BUILT",
                            field="--mount", expected="mode=0755")
    async with AsyncExitStack() as stack:
        key = _key(build, mount, target)
        if mount.sharing == "private":
            key = next(each for number in itertools.count() if (each := f"{key}-{number}") not in build.state.taken)
            build.state.taken.add(key)
            stack.callback(build.state.taken.discard, key)
        elif mount.sharing == "locked":
            await stack.enter_async_context(build.state.locks.hold(f"use:{key}"))
        async with stage("build.cache_mount", id=mount.id or target):
            await _make(build, key, mount, target)
        yield await snapshots.upper(build.state, key) + b"/" + _DIRECTORY


def _key(build: Build, mount: Mount, target: str) -> str:
    """Caches of another owner are others: what one user of the directory wrote, the other could not."""
    words = [build.namespace, mount.id or target, str(mount.uid or 0), str(mount.gid or 0)]
    return PREFIX + hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()


async def _make(build: Build, key: str, mount: Mount, target: str) -> None:
    state = build.state
    build.hold([key])
    async with state.locks.hold(key):
        if await state.store.read(lambda connection: records.find(connection, key)) is not None:
            return
        owner = snapshots.owner(state, build.namespace, key)
        await snapshots.prepared(state, pb.PrepareSnapshotRequest(key=key, owner=owner), Ground(""))
        await state.services.imaged.call(state.services.snapshots.MakeDirectory, pb.MakeDirectoryRequest(
            key=key, path=b"/" + _DIRECTORY, chown=f"{mount.uid or 0}:{mount.gid or 0}"))
        record = Record(
            key=key, type=records.CACHE_MOUNT, parent="", place="", snapshot=key, created_ns=time.time_ns(),
            inputs=Inputs(ground="", instruction=f"cached mount {target} id {mount.id or target}"),
        )
        await state.store.write("build.record", lambda connection: records.put(connection, record))
