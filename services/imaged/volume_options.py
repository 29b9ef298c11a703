"""Options of the local driver, as mount(8) has them: a volume that is a directory of the host's instead of its own.

``type=none,o=bind,device=/srv/data`` is that directory. Nothing is mounted on the host: whoever runs a container with
the volume mounts the directory itself. Other file systems (tmpfs, NFS) would have to be mounted once for all containers
together; they are refused by name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

from chassis.errors import InvalidArgument, Unimplemented

_KNOWN: Final = ("type", "o", "device")
_BIND: Final = ("bind", "rbind")
_FLAGS: Final = (*_BIND, "rw", "ro")


class Directory(NamedTuple):
    """A directory of the host's. ``recursive``: with what is mounted in it."""

    path: str
    recursive: bool
    read_only: bool


def parse(options: Mapping[str, str]) -> Directory | None:
    """What the options ask for; None for a volume of its own. InvalidArgument, Unimplemented name the option."""
    for name in options:
        if name not in _KNOWN:
            raise InvalidArgument(f'invalid option: "{ascii(name)[1:-1][:80]}"', reason="BAD_OPTION", field="options",
                                  expected=", ".join(_KNOWN))
    if not any(options.values()):
        return None
    flags = [flag for flag in options.get("o", "").split(",") if flag]
    kind, device = options.get("type", ""), options.get("device", "")
    if not any(flag in _BIND for flag in flags) or kind not in ("", "none", "bind"):
        shown = ascii(kind or "any")[1:-1][:80]
        raise Unimplemented(f"volumes of type {shown} are not built: only type=none with o=bind is", reason="NOT_BUILT",
                            field="options.type", expected="type=none,o=bind,device=PATH")
    for flag in flags:
        if flag not in _FLAGS:
            raise Unimplemented(f"volume option o={ascii(flag)[1:-1][:80]} is not built", reason="NOT_BUILT",
                                field="options.o", expected=", ".join(_FLAGS))
    if not device:
        raise InvalidArgument('missing required option: "device"', reason="BAD_OPTION", field="options.device",
                              expected="an absolute path")
    if not os.path.isabs(device) or "\0" in device:
        raise InvalidArgument(f"options.device: {ascii(device)[:80]} is not an absolute path", reason="BAD_OPTION",
                              field="options.device", expected="an absolute path")
    return Directory(os.path.normpath(device), "rbind" in flags, "ro" in flags)
