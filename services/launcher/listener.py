"""The Engine API's listening socket, owned by the launcher, so that it survives the gateway."""

from __future__ import annotations

import contextlib
import grp
import os
import socket
from pathlib import Path
from typing import Final

_GROUP: Final = "pier"
_BACKLOG: Final = 1024


def listen(path: Path) -> socket.socket:
    """Listen on ``path``, mode 0660, group ``pier`` where the host has it.

    Bound under another name and renamed: a client sees the old socket or the new one, never none, never a wide one.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        listener.bind(str(fresh))
    finally:
        os.umask(before)
    with contextlib.suppress(KeyError):
        os.chown(fresh, -1, grp.getgrnam(_GROUP).gr_gid)
    os.chmod(fresh, 0o660)
    listener.listen(_BACKLOG)
    os.rename(fresh, path)
    return listener


def open_to_group(directory: Path) -> None:
    """Let group ``pier``, where the host has it, pass through ``directory`` to the API socket: mode 0710, else 0700."""
    with contextlib.suppress(KeyError):
        os.chown(directory, -1, grp.getgrnam(_GROUP).gr_gid)
        os.chmod(directory, 0o710)  # noqa: S103 - the group is meant to pass
