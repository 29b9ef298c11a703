"""The keeper: makes what a world needs of the host, waits for its init, hands signals on, removes everything."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

from chassis import kernel
from tests.world import cgroups, init

FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_SI_KERNEL: Final = 0x80


def from_terminal(info: signal.struct_siginfo) -> bool:
    """Whether a signal came from the terminal, which then sent it to the command itself already."""
    return info.si_code == _SI_KERNEL


def keep(command: list[str]) -> int:
    """Run ``command`` in a new world; its exit code, 128+n where signal n killed it."""
    scratch = Path(tempfile.mkdtemp(prefix="world-", dir="/var/tmp"))
    groups = cgroups.WorldCgroups(f"world-{os.getpid()}")
    try:
        groups.make()
        return _run(command, scratch, groups)
    finally:
        groups.remove()
        shutil.rmtree(scratch)


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
