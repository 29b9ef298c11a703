"""The Engine API's listening socket: the launcher's (sd_listen_fds(3)), or one of our own where none is passed."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_FIRST: Final = 3
_BACKLOG: Final = 1024


@contextlib.contextmanager
def listener(path: Path) -> Iterator[socket.socket]:
    """A listening unix socket. One that was passed stays where it is when we end; our own is unlinked."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        os.set_inheritable(_FIRST, False)
        with socket.socket(fileno=_FIRST) as passed:
            passed.setblocking(False)
            yield passed
        return
    path.unlink(missing_ok=True)
    before = os.umask(0o117)
    try:
        own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        own.bind(str(path))
    finally:
        os.umask(before)
    with own:
        own.listen(_BACKLOG)
        own.setblocking(False)
        yield own
        path.unlink(missing_ok=True)
