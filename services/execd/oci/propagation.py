"""Whether binds can follow the mounts of the host, or be followed by it: their sources' own propagation decides.

Source: mount_namespaces(7); proc(5), mountinfo.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from chassis.errors import InvalidArgument
from pier.types.v1 import types_pb2

_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")


def check(entries: Iterable[types_pb2.MountSpec]) -> None:
    """InvalidArgument (NOT_SHARED) for a bind that is to follow mounts of the host, or to be followed by it, whose
    source is on a mount that tells nobody: it would do neither."""
    for index, entry in enumerate(entries):
        kind = entry.propagation.removeprefix("r")
        if entry.type != "bind" or kind not in ("shared", "slave"):
            continue
        path = os.path.realpath(os.fsdecode(entry.source))
        point, tells = _mount_of(path)
        if not (tells & {"shared"} if kind == "shared" else tells):
            what = "shared" if kind == "shared" else "shared or slave"
            raise InvalidArgument(f"path {path} is mounted on {point} but it is not a {what} mount",
                                  reason="NOT_SHARED", field=f"spec.mounts[{index}].propagation")


def _mount_of(path: str) -> tuple[str, set[str]]:
    """The mount point that ``path`` is on, and "shared" and "master" as far as the mount is (proc(5), mountinfo)."""
    found, tells = "/", set[str]()
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        left, _, _ = line.partition(b" - ")
        _, _, _, _, point, _, *tags = left.split(b" ")
        text = os.fsdecode(_ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), point))
        if len(text) >= len(found) and (path == text or path.startswith(text.rstrip("/") + "/")):
            found, tells = text, {tag.partition(b":")[0].decode() for tag in tags}
    return found, tells & {"shared", "master"}
