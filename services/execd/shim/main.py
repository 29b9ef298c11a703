"""What a forked child does to become a shim."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import signal
import socket
import sys
from typing import Final

from chassis import kernel
from execd.shim import cgroups, protocol
from execd.shim.loop import Loop
from execd.shim.protocol import ShimSpec
from execd.shim.runtime import Children
from execd.shim.shim import Shim
from execd.shim.steps import Mark

_IGNORED: Final = tuple(map(int, (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)))
"""A host that shuts down ends containers, not shims: each stays to record its container's end."""


def prepare(tasks: list[str]) -> None:
    """The part that needs no container: a session of its own, no terminal, no signals, the cgroups whose cgroup.procs
    files are ``tasks``. The caller has just forked and closed every descriptor but those it goes on with."""
    kernel.set_process_name(b"pier-spare")
    _detach_from_parent()
    with Mark("shim.enter_cgroups"):
        cgroups.enter(tasks)


def serve(sock: socket.socket, seq: object, spec: ShimSpec) -> int:
    """Be ``spec``'s shim on the connection ``sock`` and all that come; the exit status when it is done."""
    kernel.set_process_name(b"pier-shim")
    try:
        lock = _lock(spec)
        children = Children()
        loop = Loop(children.reaped)
        shim = Shim(loop, children, spec)
    except (OSError, protocol.ProtocolError) as error:
        _refuse(sock, seq, error)
        return 1
    try:
        shim.adopt(sock, seq)
        loop.run()
    except BaseException:
        _last_words(spec)
        raise
    for name in (protocol.CONTROL_SOCKET, protocol.ATTACH_SOCKET):
        os.unlink(os.path.join(spec.run_dir, name))
    os.close(lock)
    return 0


def _detach_from_parent() -> None:
    os.setsid()
    os.umask(0o077)
    os.chdir("/")
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        if fd != null:
            os.dup2(null, fd)
    if null > 2:
        os.close(null)
    kernel.ignore_signals(_IGNORED)
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    gc.enable()


def _lock(spec: ShimSpec) -> int:
    """The lock that a living shim holds: whoever can take it knows that there is none."""
    try:
        os.mkdir(spec.run_dir, 0o700)
    except FileExistsError:
        pass
    fd = os.open(os.path.join(spec.run_dir, protocol.LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise protocol.ProtocolError(f"a shim of {spec.id} is there already", "ALREADY_RUNNING") from error
    return fd


def _refuse(sock: socket.socket, seq: object, error: Exception) -> None:
    reason = error.reason if isinstance(error, protocol.ProtocolError) else "INTERNAL"
    sock.setblocking(True)
    sock.sendall(json.dumps({"seq": seq, "ok": False, "error": str(error), "reason": reason}).encode() + b"\n")


def _last_words(spec: ShimSpec) -> None:
    """A shim that dies of a fault leaves its traceback in the run directory."""
    with open(os.path.join(spec.run_dir, "fault"), "w", encoding="utf-8", errors="backslashreplace") as file:
        sys.stderr = file
        sys.excepthook(*sys.exc_info())  # what traceback prints, without its memory
