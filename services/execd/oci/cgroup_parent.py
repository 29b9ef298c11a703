"""``--cgroup-parent``: where a container's cgroup lies below each hierarchy.

A relative one lies below the instance's own, so that it is the engine's; an absolute one is the operator's own, made
where it is missing and left when the container goes, as Docker does with its cgroupfs driver.
"""

from __future__ import annotations

from typing import Final

from chassis.errors import InvalidArgument

_MAX: Final = 255
_SHIMS: Final = "shims"


def check(parent: str, field: str) -> None:
    """InvalidArgument (BAD_CGROUP) for what is no path of a cgroup, or is meant for systemd."""
    if parent.endswith(".slice"):
        raise InvalidArgument(
            f"{field}: {parent[:80]!a} is a slice of systemd's: cgroups are made directly here, no systemd is asked",
            reason="BAD_CGROUP", field=field, expected="a path as /batch or batch/night",
        )
    parts = parent.strip("/").split("/") if parent else []
    bad = len(parent) > _MAX or not all(
        0 < len(part) <= _MAX and part not in (".", "..") and part.isprintable() and part.isascii() for part in parts
    )
    if bad or (parts[:1] == [_SHIMS] and not parent.startswith("/")):
        raise InvalidArgument(f"{field}: {parent[:80]!a} is no cgroup's path", reason="BAD_CGROUP", field=field,
                              expected="printable parts, none of them '.', '..' or the engine's own 'shims'")


def path(instance: str, parent: str, container: str) -> str:
    """The container's, without a leading slash."""
    if parent.startswith("/"):
        return f"{parent.strip('/')}/{container}"
    return "/".join(filter(None, (instance, parent.strip("/"), container)))
