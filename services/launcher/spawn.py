"""Starting one program: its log file, its end with the launcher's, the listening sockets it is handed."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from chassis import kernel, listening
from launcher.programs import Program

_FIRST: Final = 3


def spawn(program: Program, environment: Mapping[str, str], log: Path, listeners: Mapping[str, int]) -> int:
    """Fork and exec ``program``; its pid. It is told to stop (SIGTERM) when the launcher dies, by whatever cause.

    ``listeners``, descriptors by their labels, go along as systemd would pass them (sd_listen_fds(3)), so that a
    restart refuses no connection. The launcher has one thread: a fork is safe.
    """
    ours = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        output = _output(log)
        nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        keep = [0, 1, 2]
        variables = dict(environment)
        if listeners:
            end = _FIRST + len(listeners)
            # First out of the way of one another, then each to its place.
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, end) for fd in listeners.values()]
            for place, fd in enumerate(high, _FIRST):
                os.dup2(fd, place)
            keep += range(_FIRST, end)
            variables |= listening.variables(list(listeners), os.getpid())
        kernel.close_all_but(keep)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != ours:
            os._exit(0)  # the launcher died before the line above
        os.execve(program.argv[0], program.argv, variables)
    except BaseException as error:  # noqa: BLE001 - a forked child must not run the parent's code
        os.write(2, f"cannot start {program.name}: {error}\n".encode())
    os._exit(127)


def _output(log: Path) -> int:
    """The program's log, or nothing where the disk has no room for a new file: it runs without."""
    try:
        return os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
