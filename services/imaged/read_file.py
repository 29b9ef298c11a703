"""ReadFile: a small file of a snapshot over nothing, whose writable directory is all that it shows."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from chassis import kernel
from chassis.errors import InvalidArgument, NotFound
from imaged import snapshots
from imaged.state import State
from pier.image.v1 import image_pb2 as pb

LIMIT: Final = 4 << 20
_PATH_MAX: Final = 4096
_RESOLVE: Final = kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS | kernel.RESOLVE_NO_XDEV
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG})


async def read(state: State, request: pb.ReadFileRequest) -> bytes:
    """NotFound (NO_SNAPSHOT, NO_SUCH_FILE); InvalidArgument (NOT_A_FILE, TOO_LARGE, NOT_OVER_NOTHING)."""
    if not 0 < len(request.path) < _PATH_MAX or b"\0" in request.path:
        raise InvalidArgument("path: not a path", reason="BAD_PATH", field="path")
    row = await snapshots.need(state, request.key)
    if row.parent or not row.writable:
        raise InvalidArgument(f"snapshot {row.key} stands on layers, or is not writable", reason="NOT_OVER_NOTHING",
                              field="key", expected="a writable snapshot over nothing")
    limit = min(request.limit or LIMIT, LIMIT)
    return await state.files.run(_read, state.rootfs.upper(row.key), request.path.lstrip(b"/") or b".", limit)


def _read(root: Path, path: bytes, limit: int) -> bytes:
    shown = os.fsdecode(path)[:200]
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = kernel.openat2(top, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, _RESOLVE)
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise NotFound(f"{shown!a}: no such file", reason="NO_SUCH_FILE", field="path") from error
        raise
    finally:
        os.close(top)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InvalidArgument(f"{shown!a} is not a regular file", reason="NOT_A_FILE", field="path")
        data = b""
        while piece := os.read(fd, limit + 1 - len(data)):
            data += piece
        if len(data) > limit:
            raise InvalidArgument(f"{shown!a} is longer than {limit} bytes", reason="TOO_LARGE", field="path")
        return data
    finally:
        os.close(fd)
