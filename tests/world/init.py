"""A world's pid 1: makes the world from the inside, starts the command, reaps, hands on signals and the exit code."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Final, NoReturn

from chassis import kernel
from tests.world import cgroups, filesystem, keeper, network

_NAMESPACES: Final = kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWCGROUP
_CANNOT_START: Final = 125


def be_init(command: list[str], scratch: Path, groups: cgroups.WorldCgroups) -> NoReturn:
    """Never returns: exits with what ``command`` ended with, or 125 where the world cannot be made."""
    code = _CANNOT_START
    try:
        _make_world(scratch, groups)
        code = _serve(_start(command))
    except BaseException:  # noqa: BLE001 - a fork must not unwind into its parent's frames
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _make_world(scratch: Path, groups: cgroups.WorldCgroups) -> None:
    groups.enter()
    kernel.unshare(_NAMESPACES)
    groups.settle()
    outside = network.make_namespaces()
    socket.sethostname("world")
    filesystem.make(scratch, groups)
    network.connect(outside)


def _start(command: list[str]) -> int:
    program = shutil.which(command[0]) or command[0]
    return os.posix_spawn(program, command, dict(os.environ), setsigmask=[], setsigdef=[signal.SIGPIPE])


def _serve(child: int) -> int:
    watched = {signal.SIGCHLD, *keeper.FORWARDED}
    while True:
        info = signal.sigwaitinfo(watched)
        if info.si_signo != signal.SIGCHLD:
            if not keeper.from_terminal(info):
                os.kill(child, info.si_signo)
            continue
        # One SIGCHLD may stand for many ends: blocked signals of a kind do not queue.
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
