"""Devices: ``--device`` and ``--gpus``."""

from __future__ import annotations

import re

from pier_cli.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_QUALIFIED = re.compile(r"[A-Za-z][A-Za-z0-9._-]*/[A-Za-z][A-Za-z0-9_-]*=[A-Za-z0-9][A-Za-z0-9._:-]*")


def is_qualified(text: str) -> bool:
    """``vendor.com/class=name``: a name of the Container Device Interface, no path."""
    return _QUALIFIED.fullmatch(text) is not None


def device(text: str) -> dict[str, str]:
    """``SOURCE[:TARGET][:MODE]``."""
    parts = text.split(":")
    if not 1 <= len(parts) <= 3:
        raise Failure(f"invalid device specification: {text}")
    source, target, access = parts[0], parts[0], "rwm"
    if len(parts) == 3:
        target, access = parts[1], parts[2]
    elif len(parts) == 2:
        if parts[1] and set(parts[1]) <= set("rwm"):
            access = parts[1]
        else:
            target = parts[1]
    for path in (source, target):
        if not path.startswith("/"):
            raise Failure(f"{path} is not an absolute path")
    if not access or not set(access) <= set("rwm"):
        raise Failure(f"bad mode specified: {access}")
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": access}


def gpus(text: str) -> dict[str, Any]:
    """``all``, a number, or ``device=0,driver=nvidia,count=2,capabilities=utility,options=…``."""
    from pier_cli.flags import parse_int
    from pier_cli.specs.mounts import csv_fields

    request: dict[str, Any] = {"Driver": "", "Count": 0, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}
    for field in csv_fields(text):
        key, equals, value = field.partition("=")
        if not equals or key == "count":
            value = value if equals else key
            request["Count"] = -1 if value == "all" else parse_int(value)
        elif key == "driver":
            request["Driver"] = value
        elif key == "device":
            request["DeviceIDs"] = value.split(",")
        elif key == "capabilities":
            request["Capabilities"] = [[*value.split(","), "gpu"]]
        elif key == "options":
            request["Options"] = dict(pair.partition("=")[::2] for pair in csv_fields(value))
        else:
            raise Failure(f"unexpected key '{key}' in '{field}'")
    if request["Count"] and request["DeviceIDs"]:
        raise Failure("cannot set both Count and DeviceIDs on device request")
    if not request["Count"] and not request["DeviceIDs"]:
        request["Count"] = 1
    return request
