"""Attach clients: connections that get a process's output and may feed its input. See chassis.attach for the protocol.

Output waits for a client in a bounded spool of references to the blocks that were read, shared by all clients. When
a spool is full the process waits. For a *patient* client, one that attached before the start, it waits for ever; any
other must have taken its whole spool within CATCH_UP seconds, or is cut off: so it stalls nobody for longer, and a
client that merely was not scheduled during a burst is kept.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from chassis import attach
from chassis.errors import InvalidArgument
from execd.shim.loop import GONE, READ, WRITE, Loop, Timer

SPOOL: Final = 1 << 20
"""Bytes that a client may be behind."""
CATCH_UP: Final = 1.0
_BUFFERS: Final = 16


class Target(Protocol):
    """What a client is attached to: a process."""

    def feed(self, client: Client, data: bytes) -> bool:
        """Give input on; False where no more is wanted for now: ``client.resume_input`` comes later."""

    def input_ended(self, client: Client) -> None: ...
    def client_drained(self, client: Client) -> None: ...
    def client_gone(self, client: Client) -> None: ...
    def client_detached(self, client: Client) -> None: ...


class Client:
    """One attached connection."""

    def __init__(
        self, loop: Loop, sock: socket.socket, request: attach.AttachRequest, target: Target, patient: bool
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._request = request
        self._target = target
        self.patient = patient
        self._matcher = attach.DetachMatcher(attach.parse_detach_keys(request.detach_keys or "") if
                                             request.detach_keys else b"")
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._reading = True
        self._input_open = True
        self._finishing = False
        self._full = False
        self._deadline: Timer | None = None
        self.closed = False
        self._events = READ
        loop.add(sock.fileno(), READ, self._ready)

    @property
    def feeds(self) -> bool:
        """Whether this client's input is the process's."""
        return self._request.stdin

    def is_full(self) -> bool:
        """From a full spool until half of it is free again."""
        return self._full

    def greet(self, early_input: bytes) -> None:
        """Answer the handshake; ``early_input`` came in the same piece as the client's line."""
        self._queue.append(attach.encode_answer())
        self._queued += len(self._queue[-1])
        self._flush()
        if early_input and not self.closed:
            self._take_input(early_input)

    def push(self, stream: int, data: bytes) -> None:
        """Queue output for this client, if it asked for ``stream``."""
        wanted = self._request.stdout if stream == attach.STDOUT else self._request.stderr
        if self.closed or self._finishing or not wanted:
            return
        if self._request.framed:
            self._queue.append(attach.frame(stream, len(data)))
        self._queue.append(data)
        self._queued += len(data)
        self._flush()
        if self._queued >= SPOOL and not self._full:
            self._full = True
            if not self.patient and self._deadline is None:
                self._deadline = self._loop.later(CATCH_UP, self._cut_off)

    def finish(self) -> None:
        """Close as soon as everything queued was sent."""
        self._finishing = True
        if not self._queue:
            self.close()

    def resume_input(self) -> None:
        if not self._reading and self._input_open:
            self._reading = True
            self._update()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._loop.remove(self._socket.fileno())
            self._socket.close()
            self._queue.clear()
            self._queued = 0
            self._caught_up()
            self._target.client_gone(self)

    def _caught_up(self) -> None:
        self._full = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cut_off(self) -> None:
        """Drop what is queued but for the piece that is partly sent, tell the reason, and end."""
        self._caught_up()
        first = self._queue.popleft()
        self._queue.clear()
        self._queue.append(first)
        if self._request.framed:
            text = f"pier: this client fell {SPOOL} bytes behind and is disconnected\n".encode()
            self._queue.append(attach.frame(attach.SYSTEM, len(text)) + text)
        self._queued = sum(map(len, self._queue))
        self.finish()
        self._target.client_drained(self)

    def _ready(self, events: int) -> None:
        if events & GONE:
            self.close()
            return
        if events & WRITE:
            self._flush()
            if self._full and self._queued <= SPOOL // 2 and not self.closed:
                self._full = False
                self._target.client_drained(self)
            if not self._queue:
                self._caught_up()
        if not self.closed and events & READ and self._input_open:
            self._receive()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(65536)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if data:
            self._take_input(data)
            return
        self._input_open = False
        rest = self._matcher.rest()
        if rest and self.feeds:
            self._target.feed(self, rest)
        self._target.input_ended(self)
        if not self.closed:
            self._update()

    def _take_input(self, data: bytes) -> None:
        data, detached = self._matcher.feed(data)
        if data and self.feeds and not self._target.feed(self, data):
            self._reading = False
        if detached:
            self._target.client_detached(self)
            self.close()
        elif not self.closed:
            self._update()

    def _flush(self) -> None:
        try:
            while self._queue:
                buffers = [self._queue[index] for index in range(min(_BUFFERS, len(self._queue)))]
                self._sent(self._socket.sendmsg(buffers))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.close()
            return
        if self._finishing and not self._queue:
            self.close()
        else:
            self._update()

    def _sent(self, count: int) -> None:
        self._queued -= count
        while count:
            first = self._queue.popleft()
            if count < len(first):
                self._queue.appendleft(first[count:])
                return
            count -= len(first)
        self._queued = max(0, self._queued)

    def _update(self) -> None:
        events = (READ if self._reading and self._input_open else 0) | (WRITE if self._queue else 0)
        if events != self._events:
            self._events = events
            self._loop.modify(self._socket.fileno(), events)


class Handshake:
    """A connection of which the line is still to come."""

    def __init__(
        self, loop: Loop, sock: socket.socket,
        on_request: Callable[[Handshake, attach.AttachRequest, bytes], None],
        on_close: Callable[[Handshake], None],
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._on_request = on_request
        self._on_close = on_close
        self._received = b""
        sock.setblocking(False)
        loop.add(sock.fileno(), READ, self._ready)

    def refuse(self, error: str, reason: str) -> None:
        """Answer with an error and close; the answer fits into any socket's buffer."""
        try:
            self._socket.send(attach.encode_answer(error, reason))
        except OSError:
            pass
        self.close()

    def accept(self) -> socket.socket:
        """The connection, to become a Client's."""
        self._loop.remove(self._socket.fileno())
        self._on_close(self)
        return self._socket

    def close(self) -> None:
        self._loop.remove(self._socket.fileno())
        self._socket.close()
        self._on_close(self)

    def _ready(self, _events: int) -> None:
        try:
            data = self._socket.recv(attach.HANDSHAKE_MAX)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._received += data
        line, newline, rest = self._received.partition(b"\n")
        if not newline:
            if len(self._received) > attach.HANDSHAKE_MAX:
                self.refuse("attach: the handshake line is too long", "BAD_REQUEST")
            return
        try:
            request = attach.decode_request(line)
            attach.parse_detach_keys(request.detach_keys) if request.detach_keys else b""
        except InvalidArgument as error:
            self.refuse(error.message, error.reason)
            return
        self._on_request(self, request, rest)
