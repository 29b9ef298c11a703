"""The program that unpack workers are forked from: one thread, everything imported, nothing else to do.

Started as ``python -I zygote.py`` with a SOCK_SEQPACKET socket as descriptor 3 and, as descriptor 4, a lock on the
state directory that lives as long as any worker: who takes over the state waits for it.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Final

CONTROL: Final = 3
LOCK: Final = 4
_MESSAGE: Final = 4096
_DESCRIPTORS: Final = 3


def main() -> None:
    # -I leaves the script's directory out of sys.path, and it is the wrong one anyway.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from chassis import kernel
    from imaged.unpack import worker  # noqa: F401 - imported for the workers

    kernel.set_process_name(b"imaged-unpack")
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.unshare(kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC)
    signal.signal(signal.SIGCHLD, _reap)
    control = socket.socket(fileno=CONTROL)
    gc.collect()
    gc.freeze()
    while True:
        message, ancillary, _, _ = control.recvmsg(
            _MESSAGE, socket.CMSG_SPACE(_DESCRIPTORS * 4), socket.MSG_CMSG_CLOEXEC
        )
        if not message:
            return
        fds = [fd for _, _, raw in ancillary for fd in memoryview(raw).cast("i")]
        if len(fds) == _DESCRIPTORS:
            _fork(message, fds)
        for fd in fds:
            os.close(fd)


def _reap(_number: int, _frame: object) -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _fork(message: bytes, fds: list[int]) -> None:
    parent = os.getpid()
    if os.fork():
        return
    try:
        _work(parent, message, fds)
    except BaseException:  # noqa: BLE001 - a child must never return into the zygote's loop
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def _work(parent: int, message: bytes, fds: list[int]) -> None:
    from chassis import kernel
    from imaged.unpack import worker

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    kernel.close_all_but((0, 1, 2, LOCK, *fds))
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    channel, blob, directory = fds
    worker.run(worker.Job.decode(message), socket.socket(fileno=channel), blob, directory)


if __name__ == "__main__":
    main()
