"""Descriptors and times: the one thread's loop."""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable


class Timer:
    """A call that is due. ``cancel`` keeps it from being made."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class Loop:
    """Calls back what is readable and what is due, until ``stop``."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._due: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._running = True

    def watch(self, fd: int, call: Callable[[], None]) -> None:
        """Call whenever ``fd`` is readable, or at its end."""
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLRDHUP)
        self._readers[fd] = call

    def forget(self, fd: int) -> None:
        """Before the descriptor is closed."""
        del self._readers[fd]
        self._epoll.unregister(fd)

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = Timer(call)
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def stop(self) -> None:
        self._running = False

    def close(self) -> None:
        """Once it has stopped."""
        self._epoll.close()

    def run(self) -> None:
        while self._running:
            wait = max(0.0, self._due[0][0] - time.monotonic()) if self._due else -1
            for fd, _ in self._epoll.poll(wait):
                call = self._readers.get(fd)
                if call is not None:  # what came before it may have closed it
                    call()
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                due = heapq.heappop(self._due)[2].call
                if due is not None:
                    due()
