"""One process of the container, init or an exec: its streams, its attach clients, its end.

Lifecycle: created (clients may attach) → starting → running → ended, or starting → failed. When the process has ended
everything that it wrote is read before its exit record is written; clients are closed after that, once the streams have
ended. A stream that somebody else still holds open after the end (a background child) is given up after GRACE seconds.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable
from typing import Final

from execd.shim import stdio
from execd.shim.clients import Client
from execd.shim.jsonlog import READ_SIZE, JsonLog
from execd.shim.loop import READ, Loop
from execd.shim.protocol import CREATED, ENDED, FAILED, RUNNING, Exit, ProtocolError

GRACE: Final = 2.0
_STREAMS: Final = (1, 2)


class Process:
    """``on_gone`` is called when an ended or failed process has no client and no open stream any more, ``on_detached``
    when a client has gone by its detach keys."""

    def __init__(
        self, loop: Loop, target: str, *, tty: bool, stdin: bool, stdin_once: bool, exit_path: str,
        log: JsonLog | None, on_gone: Callable[[Process], None], on_detached: Callable[[Process], None],
    ) -> None:
        self._loop = loop
        self.target = target
        self.tty = tty
        self.exit_path = exit_path
        self._stdin = stdin
        self._stdin_once = stdin_once
        self._log = log
        self._on_gone = on_gone
        self._on_detached = on_detached
        self.state = CREATED
        self.pid = 0
        self.started = 0
        self.exit: Exit | None = None
        self.error = ""
        self.clients: list[Client] = []
        self.pidfd = -1
        self._input = stdio.Input(loop, self._room)
        self._outputs: dict[int, int] = {}
        self._child_fds: list[int] = []
        self._slave = -1
        self._window: tuple[int, int] | None = None
        self._paused = False
        self._open()

    def _open(self) -> None:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        if self.tty:
            self._child_fds = [null, null, null]
            return
        if self._stdin:
            os.close(null)
            null, write = stdio.pipe()
            self._input.open(write)
        else:
            self._input.close()
        self._child_fds = [null]
        for stream in _STREAMS:
            read, write = stdio.pipe()
            self._child_fds.append(write)
            os.set_blocking(read, False)
            self._outputs[stream] = read

    def _listen(self, stream: int, fd: int) -> None:
        if not self._paused:
            self._loop.add(fd, READ, lambda _events: self._readable(stream))

    def is_over(self) -> bool:
        return self.state in (ENDED, FAILED)

    def child_fds(self) -> list[int]:
        """The process's 0, 1 and 2, for the runtime to inherit."""
        return self._child_fds

    def running(self, pid: int, master: int) -> None:
        """The runtime has started it; ``master`` is its terminal's, -1 without one."""
        self._close_child_fds()
        self.pid = pid
        self.started = time.time_ns()
        self.state = RUNNING
        if master >= 0:
            self._slave = stdio.open_slave(master)
            if self._window is not None:
                stdio.set_window(master, *self._window)
            os.set_blocking(master, False)
            self._outputs[1] = master
            self._input.open(fcntl.fcntl(master, fcntl.F_DUPFD_CLOEXEC, 3))
        # Not before: what a runtime that fails writes there is not the container's output.
        for stream, fd in self._outputs.items():
            self._listen(stream, fd)

    def held(self) -> dict[str, int]:
        """The descriptors by whose copies a successor goes on with its output, by the stream's number."""
        return {str(stream): fd for stream, fd in self._outputs.items()}

    def take_over(self, pid: int, pidfd: int, started: int, held: dict[str, int]) -> None:
        """Be what a killed shim's process was: ``held`` are copies, ours now. Input has ended where there is no
        terminal: the pipe's one end was the killed shim's."""
        self._close_child_fds()
        for fd in self._outputs.values():
            os.close(fd)
        self._outputs = {int(stream): fd for stream, fd in held.items()}
        if self.tty:
            self._slave = stdio.open_slave(self._outputs[1])
            self._input.open(fcntl.fcntl(self._outputs[1], fcntl.F_DUPFD_CLOEXEC, 3))
        else:
            self._input.close()
        self.pid, self.pidfd, self.started, self.state = pid, pidfd, started, RUNNING
        for stream, fd in self._outputs.items():
            self._listen(stream, fd)

    def signal(self, number: int) -> None:
        """To the one process. ProtocolError (BAD_STATE) where it does not run."""
        if not self.pid or self.exit is not None:
            raise ProtocolError(f"process {self.target} is {self.state}", "BAD_STATE")
        if self.pidfd >= 0:
            signal.pidfd_send_signal(self.pidfd, number)
        else:
            os.kill(self.pid, number)  # not reaped yet, so that the pid is still this process's

    def failed(self, error: str) -> None:
        """It never ran: clients are closed."""
        self._close_child_fds()
        self.state, self.error = FAILED, error
        for stream in list(self._outputs):
            self._close_output(stream)
        self._finish()

    def ended(self, exit_: Exit) -> None:
        """It has ended: read what it left, so that the log is whole before the record is."""
        self.exit = exit_
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        self._input.close()
        if self._slave >= 0:
            os.close(self._slave)
            self._slave = -1
        for stream, fd in list(self._outputs.items()):
            self._drain(stream, fd)
        self._close_child_fds()

    def recorded(self) -> None:
        """Its exit record is durable: clients may be let go, once the streams have ended."""
        self.state = ENDED
        if self._outputs:
            self._loop.later(GRACE, self._give_up)
        else:
            self._finish()

    def resize(self, rows: int, columns: int) -> None:
        """Kept until there is a terminal, if there is none yet. ProtocolError where there will be none."""
        if not self.tty or self.is_over():
            raise ProtocolError(f"process {self.target} has no terminal", "BAD_STATE")
        if not (0 <= rows < 65536 and 0 <= columns < 65536):
            raise ProtocolError("rows and columns are 0 to 65535", "BAD_REQUEST")
        self._window = (rows, columns)
        if self._slave >= 0:
            stdio.set_window(self._outputs[1], rows, columns)

    # What clients call (clients.Target).

    def attach(self, client: Client) -> None:
        self.clients.append(client)

    def feed(self, client: Client, data: bytes) -> bool:
        return self._input.write(data)

    def input_ended(self, client: Client) -> None:
        if client.feeds and self._stdin_once and not self.tty:
            self._input.finish()

    def client_drained(self, client: Client) -> None:
        self._resume()

    def client_gone(self, client: Client) -> None:
        if client in self.clients:
            self.clients.remove(client)
            self.input_ended(client)
            self._resume()
        self._check_gone()

    def client_detached(self, client: Client) -> None:
        self._on_detached(self)

    # Output.

    def _readable(self, stream: int) -> None:
        self._read(stream)
        if any(client.is_full() for client in self.clients):
            self._pause()

    def _read(self, stream: int) -> int:
        """Read one block and give it to log and clients: its size, 0 where nothing is left for now or for ever."""
        fd = self._outputs[stream]
        try:
            data = os.read(fd, READ_SIZE) if self._log is None else self._log.take(stream, fd)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self._close_output(stream)
            if self.state == ENDED and not self._outputs:
                self._finish()
            return 0
        for client in list(self.clients):
            client.push(stream, data)
        return len(data)

    def _drain(self, stream: int, fd: int) -> None:
        """All that the ended process itself can have left: a pipe's or terminal's whole buffer, however far behind
        the clients are."""
        try:
            left = fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) + READ_SIZE
        except OSError:
            left = 4 * READ_SIZE
        while left > 0 and stream in self._outputs:
            count = self._read(stream)
            if not count:
                return
            left -= count

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            for fd in self._outputs.values():
                self._loop.remove(fd)

    def _resume(self) -> None:
        if self._paused and not any(client.is_full() for client in self.clients):
            self._paused = False
            for stream, fd in list(self._outputs.items()):
                self._listen(stream, fd)

    def _room(self) -> None:
        for client in list(self.clients):
            client.resume_input()

    def _close_output(self, stream: int) -> None:
        fd = self._outputs.pop(stream)
        self._loop.remove(fd)
        os.close(fd)
        if self._log is not None:
            self._log.end(stream)

    def _give_up(self) -> None:
        for stream, fd in list(self._outputs.items()):
            self._drain(stream, fd)
            if stream in self._outputs:
                self._close_output(stream)
        self._finish()

    def _finish(self) -> None:
        self._input.close()
        for client in list(self.clients):
            client.finish()
        self._check_gone()

    def _check_gone(self) -> None:
        if self.is_over() and not self.clients and not self._outputs:
            if self._log is not None:
                self._log.close()
                self._log = None
            self._on_gone(self)

    def _close_child_fds(self) -> None:
        for fd in set(self._child_fds):
            os.close(fd)
        self._child_fds = []
