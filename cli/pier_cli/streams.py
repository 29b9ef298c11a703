"""Copies between this process's standard streams and a hijacked connection, in one loop and without threads.

Nothing here blocks but the wait for events: a slow reader of the output does not keep signals from the container.
"""

from __future__ import annotations

import _socket
import errno
import posix
import select
import time

from pier_cli.frames import take_frames
from pier_cli.terminal import Escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pier_cli.http import Connection
    from pier_cli.signals import Catcher

_BLOCK = 65536
# A pipe that polls writable takes one page without blocking; our end shares its flags with others and stays blocking.
_PAGE = 4096
_REGULAR = 0o100000


class Detached(Exception):
    """The user typed the detach keys."""


class Streams:
    """One attachment.

    ``tty``: the connection carries one raw stream; otherwise frames of stdout and stderr. ``stdin``: what comes on the
    standard input is sent, and its end is told by a half-close. ``escape`` watches the input for the detach keys.
    ``on_signal`` is called with the numbers of signals that ``catcher`` caught; ``on_resize`` tells the engine the
    terminal's size and says whether that worked: at first it may come before the process.
    """

    def __init__(
        self,
        connection: Connection,
        catcher: Catcher,
        on_signal: Callable[[int], None],
        *,
        tty: bool,
        stdin: bool,
        escape: Escape | None = None,
        on_resize: Callable[[], bool] | None = None,
    ) -> None:
        self._connection = connection  # keeps it open
        self._socket = connection.socket
        self._received = bytearray(connection.buffer)
        connection.buffer = b""
        self._catcher = catcher
        self._on_signal = on_signal
        self._tty = tty
        self._stdin = stdin
        self._escape = escape
        self._outgoing = b""
        self._half_closed = False
        self._output: list[tuple[int, memoryview]] = []
        self._ended = False
        self._regular = {fd: _is_regular(fd) for fd in (1, 2)}
        self._on_resize = on_resize
        self._resize_at = 0.0
        self._resizes_left = 10 if on_resize else 0

    def run(self) -> None:
        """Copy until the engine ends the stream and all output is written. Detached when the user leaves before."""
        self._socket.setblocking(False)
        if not self._stdin:
            self._shutdown()
        self._split()
        while not self._ended or self._output:
            self._resize()
            self._step()

    # --- one round

    def _step(self) -> None:
        poll = select.poll()
        poll.register(self._catcher.fd, select.POLLIN)
        target = self._output[0][0] if self._output else -1
        if target >= 0:
            poll.register(target, select.POLLOUT)
        wanted = 0
        if not self._ended and not self._output:
            wanted |= select.POLLIN
        if self._outgoing and not self._ended:
            wanted |= select.POLLOUT
        if wanted:
            poll.register(self._socket.fileno(), wanted)
        if self._stdin and not self._outgoing and not self._ended:
            poll.register(0, select.POLLIN)
        timeout = max(self._resize_at - time.monotonic(), 0) * 1000 if self._resizes_left else None
        for fd, events in poll.poll(timeout):
            if fd == self._catcher.fd:
                for number in self._catcher.take():
                    self._on_signal(number)
            elif fd == target:
                self._write()
            elif fd == 0:
                self._read_input()
            elif fd == self._socket.fileno():
                if events & select.POLLOUT:
                    self._send()
                if events & (select.POLLIN | select.POLLHUP | select.POLLERR) and not self._output:
                    self._receive()

    def resize_soon(self) -> None:
        """The terminal has another size: tell the engine in this or the next round."""
        if self._on_resize:
            self._resizes_left, self._resize_at = 1, 0.0

    def _resize(self) -> None:
        if self._resizes_left and self._on_resize and time.monotonic() >= self._resize_at:
            self._resizes_left = 0 if self._on_resize() else self._resizes_left - 1
            self._resize_at = time.monotonic() + 0.01 * (11 - self._resizes_left)

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_BLOCK)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self._ended = True
            return
        if self._tty:
            self._output.append((1, memoryview(data)))
        else:
            self._received += data
            self._split()

    def _split(self) -> None:
        """Whole and partial frames of what was received, as output."""
        data = self._received
        if self._tty:
            if data:
                self._output.append((1, memoryview(bytes(data))))
                self._received = bytearray()
            return
        self._output += [(fd, memoryview(payload)) for fd, payload in take_frames(data)]

    def _write(self) -> None:
        fd, data = self._output[0]
        rest = data[posix.write(fd, data if self._regular[fd] else data[:_PAGE]):]
        if rest:
            self._output[0] = (fd, rest)
        else:
            del self._output[0]

    def _read_input(self) -> None:
        try:
            data = posix.read(0, _BLOCK)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EBADF):
                raise
            data = b""  # the terminal has gone, or there never was an input
        if not data:
            self._stdin = False
            self._shutdown()
            return
        detached = False
        if self._escape:
            data, detached = self._escape.feed(data)
        self._outgoing = data
        self._send()
        if detached:
            raise Detached

    def _send(self) -> None:
        if not self._outgoing:
            return
        try:
            sent = self._socket.send(self._outgoing, _socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            # Nobody listens to the input any more; what is still to be read comes all the same.
            self._outgoing, self._stdin, self._half_closed = b"", False, True
            return
        self._outgoing = self._outgoing[sent:]

    def _shutdown(self) -> None:
        if not self._half_closed:
            self._half_closed = True
            try:
                self._socket.shutdown(_socket.SHUT_WR)
            except OSError:
                pass  # it has closed already


def _is_regular(fd: int) -> bool:
    try:
        return posix.fstat(fd).st_mode & 0o170000 == _REGULAR
    except OSError:
        return False
