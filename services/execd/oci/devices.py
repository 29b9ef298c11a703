"""Devices: the nodes that a container gets beside the runtime's own, and what it may do with which.

Source: OCI runtime specification, "Devices"; Documentation/admin-guide/cgroup-v1/devices.rst.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from typing import Any, Final

from chassis.errors import InvalidArgument, system_words
from pier.exec.v1 import exec_pb2

_DEVICES: Final = (
    ("c", 1, 3), ("c", 1, 5), ("c", 1, 7), ("c", 1, 8), ("c", 1, 9), ("c", 5, 0), ("c", 5, 1), ("c", 5, 2),
    ("c", 136, None),
)
"""null, zero, full, random, urandom, tty, console, ptmx, pts: what Docker lets every container use."""
_DEV_SKIPPED: Final = frozenset({"pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts", ".udev"})
_RULE: Final = re.compile(r"([acb]) (\d{1,9}|\*):(\d{1,9}|\*) ([rwm]{1,3})", re.ASCII)
Document = dict[str, Any]


def check_rule(rule: str, field: str) -> None:
    """InvalidArgument (BAD_DEVICE) for what is no rule of the devices cgroup."""
    if not _RULE.fullmatch(rule):
        raise InvalidArgument(f"invalid device cgroup rule format: '{ascii(rule[:80])[1:-1]}'", reason="BAD_DEVICE",
                              field=field, expected='"c 1:3 mr"')


def check(device: exec_pb2.Device, field: str) -> None:
    """Judge one of a spec's: InvalidArgument (BAD_DEVICE) names what is wrong. Whether it is there a start sees."""
    for name in ("path_on_host", "path_in_container"):
        path = getattr(device, name)
        if not path.startswith(b"/") or b"\0" in path:
            raise InvalidArgument(f"{os.fsdecode(path)[:200]!a} is not an absolute path", reason="BAD_DEVICE",
                                  field=f"{field}.{name}")
    if not set(device.permissions) <= set("rwm"):
        raise InvalidArgument(f"invalid mode: {device.permissions[:20]!a}", reason="BAD_DEVICE",
                              field=f"{field}.permissions", expected='letters of "rwm"')


def node(device: exec_pb2.Device) -> Document:
    """The node as OCI describes it, by what is at its path on the host now. InvalidArgument for what is no device."""
    path = os.fsdecode(device.path_on_host)
    try:
        status = os.stat(path)
    except OSError as error:
        raise InvalidArgument(
            f'error gathering device information while adding custom device "{path}": {system_words(error)}',
            reason="BAD_DEVICE", field="spec.devices",
        ) from error
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        raise InvalidArgument(
            f'error gathering device information while adding custom device "{path}": not a device node',
            reason="BAD_DEVICE", field="spec.devices",
        )
    return _document(os.fsdecode(device.path_in_container), status)


def _document(path: str, status: os.stat_result) -> Document:
    return {
        "path": path, "type": "c" if stat.S_ISCHR(status.st_mode) else "b",
        "major": os.major(status.st_rdev), "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode), "uid": status.st_uid, "gid": status.st_gid,
    }


def rules(given: Iterable[exec_pb2.Device], further: Iterable[str], *, privileged: bool) -> list[Document]:
    """What the devices cgroup lets be done: make nodes of any device, use the usual ones and those that were given, and
    what ``further`` rules say."""
    if privileged:
        return [{"allow": True, "access": "rwm"}]
    found: list[Document] = [{"allow": False, "access": "rwm"}]
    found += [{"allow": True, "type": kind, "access": "m"} for kind in ("c", "b")]
    for kind, major, minor in _DEVICES:
        rule: Document = {"allow": True, "type": kind, "major": major, "access": "rwm"}
        if minor is not None:
            rule["minor"] = minor
        found.append(rule)
    for device in given:
        made = node(device)
        found.append({"allow": True, "type": made["type"], "major": made["major"], "minor": made["minor"],
                      "access": device.permissions or "rwm"})
    return found + [_allowed(rule) for rule in further]


def _allowed(rule: str) -> Document:
    match = _RULE.fullmatch(rule)
    assert match is not None, rule  # checked when the container was created
    numbers = {name: int(text) for name, text in (("major", match[2]), ("minor", match[3])) if text != "*"}
    return {"allow": True, "type": match[1], **numbers, "access": match[4]}


def all_of_host() -> list[Document]:
    """Every device node of the host's /dev."""
    found = []
    for directory, names, files in os.walk("/dev"):
        names[:] = [name for name in names if name not in _DEV_SKIPPED]
        for name in files:
            path = os.path.join(directory, name)
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                continue
            if name in _DEV_SKIPPED or not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
                continue
            found.append(_document(path, status))
    return found
