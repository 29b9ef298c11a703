"""The descriptors between the shim and one process: pipes, or the master of a terminal."""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Callable
from typing import Final

from execd.shim.loop import GONE, WRITE, Loop

INPUT_MAX: Final = 65536
"""Bytes of input that wait in the shim for a process that does not read."""
_TIOCGPTPEER: Final = 0x5441


def pipe() -> tuple[int, int]:
    """(read end, write end), both close-on-exec and blocking."""
    return os.pipe2(os.O_CLOEXEC)


def set_window(master: int, rows: int, columns: int) -> None:
    """Tell the terminal, and so the process by SIGWINCH, its size in characters."""
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def open_slave(master: int) -> int:
    """The terminal's other side. The shim holds it open while the process lives: a master without any open slave
    answers EIO and would have to be polled until somebody opens it again."""
    return fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


class ConsoleSocket:
    """Where the runtime sends the terminal's master (its ``--console-socket``)."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        self._listener.bind(path)
        self._listener.listen(1)
        self._listener.setblocking(False)

    def receive(self) -> int:
        """The master, once the runtime has ended well; OSError where it sent none."""
        connection, _ = self._listener.accept()
        with connection:
            connection.setblocking(False)
            fds = array.array("i")
            _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(fds.itemsize), socket.MSG_CMSG_CLOEXEC)
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        if not fds:
            raise OSError(0, "the runtime sent no terminal")
        return fds[0]

    def close(self) -> None:
        self._listener.close()
        os.unlink(self.path)


class Input:
    """Bytes on their way to a process's stdin. ``on_room`` is called when a full buffer has drained."""

    def __init__(self, loop: Loop, on_room: Callable[[], None]) -> None:
        self._loop = loop
        self._on_room = on_room
        self._pending = bytearray()
        self._fd = -1
        self._finishing = False
        self.ended = False

    def open(self, fd: int) -> None:
        """``fd`` becomes the way to the process; what waited is written."""
        os.set_blocking(fd, False)
        self._fd = fd
        self._flush()

    def write(self, data: bytes) -> bool:
        """Queue ``data``; False where the caller should wait for ``on_room``. After the end it is discarded."""
        if self.ended or self._finishing:
            return True
        self._pending += data
        self._flush()
        return len(self._pending) < INPUT_MAX

    def finish(self) -> None:
        """Close stdin once everything that waits was written."""
        self._finishing = True
        self._flush()

    def close(self) -> None:
        """Close stdin now; what still waits is discarded."""
        if self._fd >= 0:
            self._loop.remove(self._fd)
            os.close(self._fd)
            self._fd = -1
        self._pending.clear()
        self.ended = True

    def _flush(self) -> None:
        if self._fd < 0:
            return
        try:
            while self._pending:
                count = os.write(self._fd, self._pending)
                del self._pending[:count]
        except BlockingIOError:
            if not self._loop.watches(self._fd):
                self._loop.add(self._fd, WRITE, self._ready)
            return
        except OSError:
            # The process closed its stdin: whatever else comes has no reader.
            self.close()
            return
        self._loop.remove(self._fd)
        if self._finishing:
            self.close()

    def _ready(self, events: int) -> None:
        was_full = len(self._pending) >= INPUT_MAX
        if events & GONE and not events & WRITE:
            self.close()
        else:
            self._flush()
        if was_full and len(self._pending) < INPUT_MAX:
            self._on_room()
