"""Limits of single block devices, as OCI's ``linux.resources.blockIO``, by what is at their paths when a life begins.

Source: OCI runtime specification, "Block IO"; Documentation/admin-guide/cgroup-v1/blkio-controller.rst.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import Any, Final

from chassis.errors import InvalidArgument, system_words
from pier.exec.v1 import exec_pb2

_RATES: Final = {
    "read_bps": "throttleReadBpsDevice", "write_bps": "throttleWriteBpsDevice", "read_iops": "throttleReadIOPSDevice",
    "write_iops": "throttleWriteIOPSDevice",
}
LISTS: Final = ("weights", *_RATES)
"""Fields of BlockIoLimits."""
Document = dict[str, Any]


def check(given: exec_pb2.BlockIoLimits, field: str) -> None:
    """InvalidArgument names what is wrong. Whether the devices are there a start sees."""
    for name in LISTS:
        for item in getattr(given, name):
            if not item.path.startswith(b"/") or b"\0" in item.path:
                raise InvalidArgument(f"{os.fsdecode(item.path)[:200]!a} is not an absolute path", reason="BAD_DEVICE",
                                      field=f"{field}.{name}.path")
    for item in given.weights:
        if not 10 <= item.weight <= 1000:
            raise InvalidArgument("Range of blkio weight is from 10 to 1000", reason="OUT_OF_RANGE",
                                  field=f"{field}.weights.weight", expected="10 to 1000")


def replace(limits: exec_pb2.BlockIoLimits, given: exec_pb2.BlockIoLimits, lists: Iterable[str]) -> None:
    """Put the ``lists`` of ``given`` in place of those of ``limits``. InvalidArgument (BAD_FIELD) for a list that is
    none."""
    for name in lists:
        if name not in LISTS:
            raise InvalidArgument(f"{name[:80]!a} is no list of limits", reason="BAD_FIELD", field="block_io_lists",
                                  expected=", ".join(LISTS))
        items = getattr(limits, name)
        del items[:]
        items.extend(getattr(given, name))


def of(given: exec_pb2.BlockIoLimits) -> Document:
    """The object's lists of devices, none where nothing was given. InvalidArgument (BAD_DEVICE) for what is no block
    device."""
    found: Document = {}
    if given.weights:
        found["weightDevice"] = [{**_numbers(item.path), "weight": item.weight} for item in given.weights]
    for name, key in _RATES.items():
        if items := getattr(given, name):
            found[key] = [{**_numbers(item.path), "rate": item.rate} for item in items]
    return found


def _numbers(path: bytes) -> Document:
    shown = ascii(os.fsdecode(path))[1:-1]
    try:
        status = os.stat(path)
    except OSError as error:
        raise InvalidArgument(f"{shown}: {system_words(error)}", reason="BAD_DEVICE", field="spec.block_io") from error
    if not stat.S_ISBLK(status.st_mode):
        raise InvalidArgument(f"{shown}: not a block device", reason="BAD_DEVICE", field="spec.block_io")
    return {"major": os.major(status.st_rdev), "minor": os.minor(status.st_rdev)}
