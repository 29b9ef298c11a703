"""What the gateway did lately: the trace of each request, in memory, for ``pier explain``.

It is no state: the traces of containers' verbs are kept with the containers, by execd. What is here besides are pulls,
pushes, loads, builds, requests that were refused, and the slowest of all. It begins anew with the gateway.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

from chassis.stages import Node
from gateway.rest import names
from pier.types.v1 import types_pb2

_MOST: Final = 512
_MOST_BYTES: Final = 4 << 20
_ONE_BYTES: Final = 256 << 10
_SLOW_READ_NS: Final = 50_000_000
"""A request that only reads is kept from this long on."""
_READS: Final = frozenset({"GET", "HEAD"})
_UNENDING: Final = frozenset({
    "/containers/{name}/attach", "/containers/{name}/attach/ws", "/containers/{name}/wait", "/exec/{id}/start",
    "/containers/{name}/logs", "/containers/{name}/stats", "/events", "/traces", "/containers/{name}/traces",
    "/_ping", "/session", "/grpc",
})
"""Routes whose time is the client's, or of which nothing is to be learnt."""


class Recent:
    """The last requests' trees, serialised: 512 of them, 4 MiB at most."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, bytes]] = deque()
        self._bytes = 0

    def keep(self, method: str, pattern: str, root: Node) -> None:
        """Remember a request that has ended, unless it is of a kind that says nothing."""
        if pattern in _UNENDING or (method in _READS and root.duration_ns < _SLOW_READ_NS):
            return
        span = root.to_span()
        data = span.SerializeToString()
        if len(data) > _ONE_BYTES:
            _shorten(span)
            data = span.SerializeToString()
        if len(data) > _ONE_BYTES:
            return
        self._kept.append((root.duration_ns, data))
        self._bytes += len(data)
        while len(self._kept) > _MOST or self._bytes > _MOST_BYTES:
            self._bytes -= len(self._kept.popleft()[1])

    def newest(self, subject: str = "") -> list[types_pb2.Span]:
        """Newest first; those about ``subject`` alone, where one is named: a container's name or id, an image."""
        spans = (types_pb2.Span.FromString(data) for _, data in reversed(self._kept))
        return [span for span in spans if not subject or is_about(span.facts, subject)]

    def slowest(self, count: int) -> list[types_pb2.Span]:
        found = sorted(self._kept, key=lambda item: item[0], reverse=True)
        return [types_pb2.Span.FromString(data) for _, data in found[:count]]


def is_about(facts: Mapping[str, str], subject: str) -> bool:
    """Whether the facts of a request name ``subject``; image names count in any of their spellings."""
    if subject in (facts.get("container"), facts.get("id"), facts.get("network"), facts.get("volume")):
        return True
    wanted = _spelt(subject)
    return any(_spelt(name) == wanted for name in facts.get("image", "").split(" ") if name)


def _spelt(reference: str) -> str:
    short = names.familiar(reference)
    return short if names.has_tag(short) else f"{short}:latest"


def _shorten(span: types_pb2.Span) -> None:
    """The leaves are what a tree that is too large loses."""
    for child in span.children:
        for grandchild in child.children:
            for each in grandchild.children:
                del each.children[:]
