"""Stages: the one way to mark a step of an operation.

``stage("start.runtime_create", container=id)`` around a step yields four things at once: a log line (debug; warning
where it failed), a sample of the histogram ``pier_stage_duration_seconds``, a span in the trace of the request (which
``pier explain`` shows), and a fault point for tests. It works as ``with`` in a thread, as ``async with`` on the loop.

A *trace* is the tree of stages below one root, and the server opens one for each call. A caller grafts the tree that a
peer sent back (trailing metadata ``pier-trace-bin``), so that a start's tree spans all services.

Fault points. ``PIER_FAULT=SERVICE:STAGE:ACTION[,…]`` in the environment acts when STAGE begins, ``STAGE@end`` when it
has ended well. ACTION is ``kill`` (SIGKILL to itself), ``error`` (Internal, reason FAULT) or ``delay=Ns`` (N seconds).
``PIER_FAULT=@FILE`` looks at every boundary whether FILE names it, and removes FILE before it acts: armed once, live.
``PIER_STAGE_MARKS=1`` makes each begin and end visible to a tracer of system calls, as an access(2) of a path that does
not exist: ``/pier-stage/begin/NAME``. Both are for tests; nothing sets them elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from chassis.errors import Internal, PierError
from chassis.logs import logger
from chassis.metrics import STAGE_SECONDS
from pier.types.v1 import types_pb2

Fact = str | int | float | bool

TRACE_KEY: Final = "pier-trace-bin"
_TRACE_LIMIT: Final = 24 * 1024
_DEEPEST: Final = 12
_MOST_CALLS: Final = 1000
"""Calls that one stage remembers: what follows one another for long (a stream of images) needs no list of all."""


@dataclass(slots=True)
class Node:
    """One stage of a trace while it is made. Children may be added from several threads (list.append is atomic)."""

    name: str
    facts: dict[str, Fact]
    start_ns: int
    duration_ns: int = 0
    error: str = ""
    children: list[Node] = field(default_factory=list)
    grafts: list[types_pb2.Span] = field(default_factory=list)

    def to_span(self) -> types_pb2.Span:
        """The tree below this node as its message; a child that has not ended yet is left out."""
        span = types_pb2.Span(
            name=self.name,
            service=_service,
            error=self.error,
            facts={key: str(value) for key, value in self.facts.items()},
            children=[child.to_span() for child in list(self.children) if child.duration_ns],
        )
        span.start.FromNanoseconds(self.start_ns)
        span.duration.FromNanoseconds(self.duration_ns)
        span.children.extend(self.grafts)
        return span


_current: ContextVar[Node | None] = ContextVar("stage", default=None)
_service = ""
_faults: dict[str, str] = {}
_fault_file: Path | None = None
_marks = False


def configure(service: str) -> None:
    """Name the service that stages belong to, and read its fault points from the environment."""
    global _service, _marks, _fault_file
    _service = service
    _marks = os.environ.get("PIER_STAGE_MARKS") == "1"
    _faults.clear()
    value = os.environ.get("PIER_FAULT", "")
    _fault_file = Path(value[1:]) if value.startswith("@") else None
    for entry in filter(None, "" if _fault_file else value.split(",")):
        target, point, action = _parse(entry)
        if target == service:
            _faults[point] = action
    if _faults:
        logger().warning("fault points are armed", points=dict(_faults))


def _parse(entry: str) -> tuple[str, str, str]:
    target, point, action = entry.strip().split(":", 2)
    if action not in ("kill", "error") and not action.startswith("delay="):
        raise Internal(f"PIER_FAULT: {entry!r} has no action kill, error or delay=Ns", field="PIER_FAULT")
    return target, point, action


def _take(point: str) -> str | None:
    """The action that the fault file has for ``point`` of this service; the file is gone then."""
    assert _fault_file is not None
    try:
        target, wanted, action = _parse(_fault_file.read_text())
        if (target, wanted) != (_service, point):
            return None
        _fault_file.unlink()
    except FileNotFoundError:
        return None
    return action


class stage:  # noqa: N801 - reads as a verb where it is used
    """A step of an operation; see the module. ``facts`` are small values for people; add more by ``note``."""

    __slots__ = ("_began", "_node", "_token")

    def __init__(self, name: str, **facts: Fact) -> None:
        self._node = Node(name, facts, 0)
        self._began = 0
        self._token: Token[Node | None] | None = None

    def note(self, **facts: Fact) -> None:
        """Add facts that came to light inside."""
        self._node.facts.update(facts)

    def __enter__(self) -> Self:
        self._begin()
        try:
            if (delay := _act(self._node.name)) > 0:
                time.sleep(delay)
        except BaseException as error:
            self._finish(error)
            raise
        return self

    def __exit__(
        self, _cls: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._finish(error)
        if error is None and (delay := _act(self._node.name + "@end")) > 0:
            time.sleep(delay)

    async def __aenter__(self) -> Self:
        self._begin()
        try:
            if (delay := _act(self._node.name)) > 0:
                await asyncio.sleep(delay)
        except BaseException as error:
            self._finish(error)
            raise
        return self

    async def __aexit__(
        self, _cls: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._finish(error)
        if error is None and (delay := _act(self._node.name + "@end")) > 0:
            await asyncio.sleep(delay)

    def _begin(self) -> None:
        if _marks:
            os.access(f"/pier-stage/begin/{self._node.name}", os.F_OK)
        if (parent := _current.get()) is not None:
            parent.children.append(self._node)
        self._token = _current.set(self._node)
        self._node.start_ns = time.time_ns()
        self._began = time.perf_counter_ns()

    def _finish(self, error: BaseException | None) -> None:
        node = self._node
        node.duration_ns = max(1, time.perf_counter_ns() - self._began)
        if self._token is not None:
            _current.reset(self._token)
        if _marks:
            os.access(f"/pier-stage/end/{node.name}", os.F_OK)
        outcome = "ok"
        if error is not None:
            outcome = "cancelled" if isinstance(error, asyncio.CancelledError) else "error"
            node.error = error.reason if isinstance(error, PierError) else type(error).__name__
        STAGE_SECONDS.labels(node.name, outcome).observe(node.duration_ns / 1e9)
        milliseconds = round(node.duration_ns / 1e6, 3)
        if outcome == "error":
            logger().warning("stage failed", stage=node.name, ms=milliseconds, error=str(error), facts=node.facts)
        else:
            logger().debug("stage", stage=node.name, ms=milliseconds, outcome=outcome, facts=node.facts)


def _act(point: str) -> float:
    """Carry the fault at ``point`` out; the seconds to wait, where it is a delay."""
    action = _take(point) if _fault_file is not None else _faults.get(point)
    if action is None:
        return 0.0
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()  # the signal is on its way: go no step further
    if action == "error":
        raise Internal(f"fault at {point}", reason="FAULT")
    return float(action.removeprefix("delay=").removesuffix("s"))


@contextmanager
def trace(name: str, **facts: Fact) -> Iterator[Node]:
    """A new root: what happens inside does not appear in an outer trace. Read it by ``to_span`` afterwards."""
    node = Node(name, facts, time.time_ns())
    began = time.perf_counter_ns()
    token = _current.set(node)
    try:
        yield node
    except BaseException as error:
        node.error = error.reason if isinstance(error, PierError) else type(error).__name__
        raise
    finally:
        _current.reset(token)
        node.duration_ns = max(1, time.perf_counter_ns() - began)


def graft(span: types_pb2.Span) -> None:
    """Hang a peer's tree below the current stage."""
    if (node := _current.get()) is not None:
        node.grafts.append(span)


class Seen:
    """A call to a peer while it is made. ``told`` takes the peer's own tree, None where it sent none."""

    def __init__(self) -> None:
        self.span = types_pb2.Span()

    def told(self, tree: types_pb2.Span | None) -> None:
        if tree is not None:
            self.span.CopyFrom(tree)


@contextmanager
def seen_from_here(peer: str, name: str) -> Iterator[Seen]:
    """Hang a call to ``peer`` below the current stage: for as long as its caller waits, the way there and back and what
    the peer does before and after its own clock runs among it."""
    seen, node = Seen(), _current.get()
    start_ns, began = time.time_ns(), time.perf_counter_ns()
    try:
        yield seen
    except BaseException as error:
        if isinstance(error, PierError):
            seen.span.error = seen.span.error or error.reason
        raise
    finally:
        if node is not None and len(node.grafts) < _MOST_CALLS:
            seen.span.name, seen.span.service = name, peer
            seen.span.start.FromNanoseconds(start_ns)
            seen.span.duration.FromNanoseconds(max(1, time.perf_counter_ns() - began))
            node.grafts.append(seen.span)


def to_trailer(node: Node) -> bytes | None:
    """The serialised tree for trailing metadata, None for an empty one. One that is too large loses its leaves, the
    deepest first."""
    if not node.children and not node.grafts:
        return None
    span = node.to_span()
    data = span.SerializeToString()
    for depth in range(_DEEPEST, 0, -1):
        if len(data) <= _TRACE_LIMIT:
            break
        _cut(span, depth)
        data = span.SerializeToString()
    return data if len(data) <= _TRACE_LIMIT else None


def _cut(span: types_pb2.Span, depth: int) -> None:
    """Leave ``depth`` levels below the span."""
    if depth == 0:
        del span.children[:]
    for child in span.children:
        _cut(child, depth - 1)
