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


class StaleSince:
    """Unix time of the oldest stale answer that the request being served has used; 0 for none. Tasks that the request
    began tell theirs as well."""

    def __init__(self) -> None:
        self._held: ContextVar[list[float] | None] = ContextVar("stale_since", default=None)

    def set(self, when: float) -> None:
        self._held.set([when])

    def get(self) -> float:
        held = self._held.get()
        return held[0] if held else 0.0

    def tell(self, when: float) -> None:
        held = self._held.get()
        if held is not None:
            held[0] = min(held[0], when) if held[0] else when


stale_since: Final = StaleSince()

_KEEP: Final = 4096


def tell_stale(when: float) -> None:
    """The answer being made uses what was true at ``when``."""
    stale_since.tell(when)


class Projection:
    """The last answers by key. ``deadline`` is in seconds."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self._last: dict[str, tuple[float, Any]] = {}

    def change_deadline(self, seconds: float) -> None:
        self.deadline = seconds

    async def read(self, key: str, ask: Callable[[float], Awaitable[T]], patience: float = 0.0) -> T:
        """``ask(deadline)``, or what it answered last under ``key``; the owner's refusals are passed on. ``patience``
        is a longer deadline, in seconds, for where nothing is known yet.

        Unavailable where the owner does not answer and never has.
        """
        try:
            answer = await ask(self.deadline if key in self._last else max(self.deadline, patience))
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
