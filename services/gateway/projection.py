"""Reads: the owner is asked with a short deadline; only then the last known answer is given, and told as stale.

What was never seen cannot be answered: Unavailable, not an empty list. Nothing here is a fact of the gateway's own.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from chassis.errors import DeadlineExceeded, Unavailable

T = TypeVar("T")

stale_since: ContextVar[float] = ContextVar("stale_since", default=0.0)
"""Unix time of the oldest stale answer that the request being served has used; 0 for none."""

_KEEP: Final = 4096
_UNKNOWN: Final = 2.0  # seconds


def tell_stale(when: float) -> None:
    """The answer being made uses what was true at ``when``."""
    known = stale_since.get()
    stale_since.set(min(known, when) if known else when)


class Projection:
    """The last answers by key. ``deadline`` is in seconds."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self._last: dict[str, tuple[float, Any]] = {}

    async def read(self, key: str, ask: Callable[[float], Awaitable[T]]) -> T:
        """``ask(deadline)``, or what it answered last under ``key``; the owner's refusals are passed on.

        Unavailable where the owner does not answer and never has.
        """
        try:
            # Where there is nothing else to answer with, an owner that is slow is waited for longer.
            answer = await ask(self.deadline if key in self._last else max(self.deadline, _UNKNOWN))
        except (Unavailable, DeadlineExceeded) as error:
            if key not in self._last:
                raise Unavailable(error.message, reason=error.reason) from error
            when, last = self._last[key]
            tell_stale(when)
            found: T = last
            return found
        self._last.pop(key, None)
        self._last[key] = (time.time(), answer)
        if len(self._last) > _KEEP:
            del self._last[next(iter(self._last))]
        return answer

    def last(self, key: str) -> tuple[float, Any] | None:
        """(unix time, answer) of the last answer under ``key``."""
        return self._last.get(key)

    def forget(self, key: str) -> None:
        """The thing is gone: it is not given any more."""
        self._last.pop(key, None)
