"""One thread's loop: readiness of descriptors by epoll, timers, ended children. It wakes for events only."""

from __future__ import annotations

import heapq
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Final

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT
GONE: Final = select.EPOLLHUP | select.EPOLLERR

Handler = Callable[[int], None]
ChildHandler = Callable[[int, int, int], None]


class Timer:
    """A callback that is still to come; ``cancel`` makes it never come."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """``on_child`` gets (pid, wait status, time of the reaping in nanoseconds since 1970) of each ended child."""

    def __init__(self, on_child: ChildHandler) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[Timer] = []
        self._on_child = on_child
        self._stopped = False
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, _noted)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self.add(self._wake_read, READ, self._reap)

    def add(self, fd: int, events: int, handler: Handler) -> None:
        """Call ``handler(events)`` when ``fd`` is ready. EPOLLHUP and EPOLLERR come unasked: an owner that does not
        want them now must remove the descriptor, or the loop spins."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def modify(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Forget ``fd``; must come before its close. Nothing where it is not there."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def watches(self, fd: int) -> bool:
        return fd in self._handlers

    def later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(time.monotonic() + seconds, callback)
        heapq.heappush(self._timers, timer)
        return timer

    def stop(self) -> None:
        self._stopped = True

    def run(self) -> None:
        """Serve until ``stop``."""
        while not self._stopped:
            for fd, events in self._epoll.poll(self._timeout()):
                # A handler earlier in this batch may have removed it.
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler(events)
            self._fire_timers()

    def close(self) -> None:
        """Release every descriptor of the loop itself; a forked child calls this for its parent's loop."""
        signal.set_wakeup_fd(-1)
        self._epoll.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._handlers.clear()

    def _timeout(self) -> float:
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0].when - time.monotonic()) if self._timers else -1

    def _fire_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0].when <= now:
            callback = heapq.heappop(self._timers).callback
            if callback is not None:
                callback()

    def _reap(self, _events: int) -> None:
        try:
            while os.read(self._wake_read, 4096):
                pass
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._on_child(pid, status, time.time_ns())


def _noted(_signal: int, _frame: object) -> None:
    """SIGCHLD needs a handler for the wake-up descriptor to be written to."""
