"""The guard at a server's border: who calls, whether they may, and an audit line for what changes something."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from chassis import effects
from chassis.audit import Audit
from chassis.caller import Caller, Callers, caller
from chassis.roles import Roles


@dataclass(frozen=True)
class Guard:
    """``tells_own``: calls to the server's own socket are in the audit log, too. A service's own callers are the
    engine's other parts, which have told of what they were asked themselves."""

    roles: Roles
    audit: Audit
    callers: Callers = field(default_factory=Callers)
    tells_own: bool = False


@dataclass
class Visit:
    """One call, from its arrival to its end. ``changes`` and ``subject`` are known when its message is."""

    guard: Guard
    call: str
    who: Caller
    changes: bool = False
    subject: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    def admit(self, *, changes: bool, subject: str) -> None:
        """PermissionDenied where the caller may not do it."""
        self.changes = self.changes or changes
        self.subject = self.subject or subject
        self.guard.roles.check(self.who, self.call, changes=changes)

    def ended(self, result: str, *, refused: bool = False) -> None:
        """It was answered with ``result``: "OK", or an error's reason."""
        if self.changes or refused:
            seconds = time.perf_counter() - self.began
            self.guard.audit.tell(self.who, self.call, self.subject, result, seconds, self.arguments)


def visit(guard: Guard, method: str, peer: str) -> Visit | None:
    """A gRPC call of ``method`` ("pier.x.v1.Service/Method") arrives; None for one that is neither judged nor told of.
    Unauthenticated where nobody knows from whom."""
    who = guard.callers.of(peer)
    caller.set(who or Caller())
    return Visit(guard, method, who or Caller()) if who is not None or guard.tells_own else None


def admit(visit: Visit, message: Any) -> None:
    """Judge a call by its message. PermissionDenied."""
    visit.admit(changes=not effects.is_read(visit.call, message), subject=effects.subject(message))


async def admitted(visit: Visit, messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The messages of a stream; PermissionDenied at the first that the caller may not send."""
    first = True
    async for message in messages:
        if first or visit.call in effects.BY_MESSAGE:
            admit(visit, message)
            first = False
        yield message
