"""Options of the local driver, as mount(8) has them: a volume that is something else than a directory of its own.

``type=none,o=bind,device=/srv/data`` is that directory of the host's; ``type=tmpfs,device=tmpfs,o=size=64m`` a file
system in memory; ``type=nfs,device=:/export,o=addr=10.0.0.1`` one of a server. Nothing is mounted on the host: whoever
runs the first container with the volume mounts it, and it is unmounted with the last. Others are refused by name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from chassis.errors import InvalidArgument, Unimplemented

_KNOWN: Final = ("type", "o", "device")
_BIND: Final = ("bind", "rbind")
_FLAGS: Final = (*_BIND, "rw", "ro")
_MOUNT_FLAGS: Final = ("ro", "rw", "nosuid", "nodev", "noexec", "noatime")
_TMPFS: Final = ("size", "mode", "uid", "gid", "nr_inodes")
_NFS: Final = ("nfs", "nfs4")
_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_VALUE: Final = re.compile(r"[A-Za-z0-9_.:%/\[\]@-]{1,255}")


class Directory(NamedTuple):
    """A directory of the host's. ``recursive``: with what is mounted in it."""

    path: str
    recursive: bool
    read_only: bool


class FileSystem(NamedTuple):
    """One that is mounted at its first use. ``options`` are (word, value or "")."""

    type: str
    source: str
    options: tuple[tuple[str, str], ...]


def parse(options: Mapping[str, str]) -> Directory | FileSystem | None:
    """What the options ask for; None for a volume of its own. InvalidArgument, Unimplemented name the option."""
    for name in options:
        if name not in _KNOWN:
            raise InvalidArgument(f'invalid option: "{ascii(name)[1:-1][:80]}"', reason="BAD_OPTION", field="options",
                                  expected=", ".join(_KNOWN))
    if not any(options.values()):
        return None
    flags = [flag for flag in options.get("o", "").split(",") if flag]
    kind, device = options.get("type", ""), options.get("device", "")
    if not device:
        raise InvalidArgument('missing required option: "device"', reason="BAD_OPTION", field="options.device",
                              expected="what is to be mounted")
    if kind == "tmpfs" or kind in _NFS:
        return _file_system(kind, device, flags)
    if not any(flag in _BIND for flag in flags) or kind not in ("", "none", "bind"):
        shown = ascii(kind or "any")[1:-1][:80]
        raise Unimplemented(f"volumes of type {shown} are not built: none with o=bind, tmpfs and nfs are",
                            reason="NOT_BUILT", field="options.type", expected="none, tmpfs, nfs or nfs4")
    for flag in flags:
        if flag not in _FLAGS:
            raise Unimplemented(f"volume option o={ascii(flag)[1:-1][:80]} is not built", reason="NOT_BUILT",
                                field="options.o", expected=", ".join(_FLAGS))
    if not os.path.isabs(device) or "\0" in device:
        raise InvalidArgument(f"options.device: {ascii(device)[:80]} is not an absolute path", reason="BAD_OPTION",
                              field="options.device", expected="an absolute path")
    return Directory(os.path.normpath(device), "rbind" in flags, "ro" in flags)


def _file_system(kind: str, device: str, flags: list[str]) -> FileSystem:
    found = []
    for flag in flags:
        word, equals, value = flag.partition("=")
        own = word in _TMPFS and equals if kind == "tmpfs" else _WORD.fullmatch(word)
        fits = _VALUE.fullmatch(value) if equals else True
        if not fits or not (own or (word in _MOUNT_FLAGS and not equals)):
            raise InvalidArgument(f"options.o: {ascii(flag)[1:-1][:80]} is no option of {kind}", reason="BAD_OPTION",
                                  field="options.o")
        found.append((word, value))
    if kind in _NFS and not any(word == "addr" for word, _ in found):
        raise InvalidArgument("options.o: it does not say where the server is", reason="BAD_OPTION", field="options.o",
                              expected="addr=HOST")
    if kind in _NFS and (":" not in device or "\0" in device or len(device) > 1024):
        raise InvalidArgument(f"options.device: {ascii(device)[:80]} is no path of a server", reason="BAD_OPTION",
                              field="options.device", expected=":/PATH")
    return FileSystem(kind, device, tuple(found))
