"""The program that helpers are forked from: ``python -I zygote.py`` with a SOCK_SEQPACKET socket as descriptor 3.

A message names the program; with it come four descriptors: the request (as programs.py writes it), standard output,
standard error, and a stream socket. The child sends its pidfd over that at once, and its exit status as the last byte.
"""

from __future__ import annotations

import codecs
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

CONTROL: Final = 3
_MESSAGE: Final = 64
_DESCRIPTORS: Final = 4

Work = Callable[[dict[str, Any]], None]


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from chassis import kernel
    from imaged.diff.work import work as diff
    from imaged.files.work import work as files

    programs: dict[str, Work] = {"diff": diff, "files": files}
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here: the kernel takes them away
    control = socket.socket(fileno=CONTROL)
    codecs.lookup("ascii")  # requests are; a child would look for the codec's module anew
    gc.collect()
    gc.freeze()
    while True:
        message, ancillary, _, _ = control.recvmsg(
            _MESSAGE, socket.CMSG_SPACE(_DESCRIPTORS * 4), socket.MSG_CMSG_CLOEXEC)
        if not message:
            return
        fds = [fd for _, _, raw in ancillary for fd in memoryview(raw).cast("i")]
        if len(fds) == _DESCRIPTORS and (work := programs.get(message.decode())) is not None:
            _fork(work, fds)
        for fd in fds:
            os.close(fd)


def _fork(work: Work, fds: list[int]) -> None:
    parent = os.getpid()
    if os.fork():
        return
    try:
        _work(parent, work, fds)
    except BaseException:  # noqa: BLE001 - a child must never return into the zygote's loop
        sys.excepthook(*sys.exc_info())
    os._exit(1)


def _work(parent: int, work: Work, fds: list[int]) -> None:
    from chassis import kernel, program

    request, output, error, status = fds
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(output, 1)
    os.dup2(error, 2)
    kernel.close_all_but((0, 1, 2, request, status))
    channel = socket.socket(fileno=status)
    pidfd = os.pidfd_open(os.getpid())
    socket.send_fds(channel, [b"+"], [pidfd])
    os.close(pidfd)
    code = program.main(f"@{request}", work, parent=parent)
    sys.stderr.flush()
    channel.send(bytes([code]))
    os._exit(code)


if __name__ == "__main__":
    main()
