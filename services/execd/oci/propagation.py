"""Whether binds can follow the mounts of the host, or be followed by it: their sources' own propagation decides.

Source: mount_namespaces(7).
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from chassis import mountinfo
from chassis.errors import InvalidArgument
from pier.types.v1 import types_pb2


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
    """The mount point that ``path`` is on, and "shared" and "master" as far as the mount is."""
    found, tells = "/", set[str]()
    for mount in mountinfo.own():
        point = mount.point
        if len(point) >= len(found) and (path == point or path.startswith(point.rstrip("/") + "/")):
            found, tells = point, {tag.partition(":")[0] for tag in mount.tags}
    return found, tells & {"shared", "master"}
