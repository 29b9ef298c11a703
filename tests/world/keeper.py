"""The keeper: makes what a world needs of the host, waits for its init, hands signals on, removes everything."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from chassis import kernel
from tests.world import cgroups, init

FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_SCRATCHES: Final = Path("/var/tmp")
_PREFIX: Final = "pier-world-"
_SI_KERNEL: Final = 0x80


def from_terminal(info: signal.struct_siginfo) -> bool:
    """Whether a signal came from the terminal, which then sent it to the command itself already."""
    return info.si_code == _SI_KERNEL


def keep(command: list[str]) -> int:
    """Run ``command`` in a new world; its exit code, 128+n where signal n killed it."""
    scratch, lock = _make_scratch()
    groups = cgroups.WorldCgroups(scratch.name)
    try:
        groups.make()
        return _run(command, scratch, groups)
    finally:
        groups.remove()
        shutil.rmtree(scratch)
        os.close(lock)


def _make_scratch() -> tuple[Path, int]:
    """A new directory on disk and the descriptor whose lock says that its keeper lives; a lock ends with its process.

    First goes what keepers left that were killed before they could remove it: their worlds died with them.
    """
    with _held(_SCRATCHES):
        for scratch in _SCRATCHES.glob(_PREFIX + "*"):
            try:
                lock = _lock(scratch, fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            cgroups.remove_called(scratch.name)
            shutil.rmtree(scratch)
            os.close(lock)
        scratch = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_SCRATCHES))
        return scratch, _lock(scratch)


def _lock(directory: Path, flags: int = 0) -> int:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | flags)
    except OSError:
        os.close(fd)
        raise
    return fd


@contextlib.contextmanager
def _held(directory: Path) -> Iterator[None]:
    """Nobody else makes or removes scratch directories meanwhile."""
    fd = _lock(directory)
    try:
        yield
    finally:
        os.close(fd)


def _run(command: list[str], scratch: Path, groups: cgroups.WorldCgroups) -> int:
    watched = {signal.SIGCHLD, *FORWARDED}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    sys.stdout.flush()
    sys.stderr.flush()
    kernel.unshare(kernel.CLONE_NEWPID)
    pid = os.fork()
    if pid == 0:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        init.be_init(command, scratch, groups)
    while True:
        info = signal.sigwaitinfo(watched)
        if info.si_signo != signal.SIGCHLD:
            if not from_terminal(info):
                os.kill(pid, info.si_signo)
            continue
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended == pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, watched)
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
