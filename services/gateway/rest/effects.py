"""What a request to the Engine API does: read, or change something; and to what, as the audit log tells it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from gateway.rest.call import Query

_READS: Final = ("GET", "HEAD", "OPTIONS")
_WAIT: Final = "/containers/{name}/wait"
_ATTACH: Final = ("/containers/{name}/attach", "/containers/{name}/attach/ws")
_PING: Final = "/_ping"
_NAMES: Final = ("name", "fromImage", "fromSrc", "container", "repo", "t", "remote")
_SECRET: Final = ("buildargs", "authconfig", "outputs", "secrets")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]+@")
_LONGEST: Final = 256
_MOST: Final = 32


def is_open(pattern: str) -> bool:
    """Whether even who has no role may ask: whether there is an engine at all."""
    return pattern == _PING


def changes(method: str, pattern: str, query: Query) -> bool:
    """Whether a request to the route ``pattern`` changes anything. Whoever is attached and only listens does not."""
    if pattern in _ATTACH:
        return query.boolean("stdin")
    return method not in _READS and pattern != _WAIT


def subject(variables: Mapping[str, str], query: Query) -> str:
    """What the request is about: what its path names, else what its query does."""
    if variables:
        return _masked(" ".join(variables.values()))
    return next((_masked(query.text(name)) for name in _NAMES if query.text(name)), "")


def arguments(query: Query) -> dict[str, str]:
    """The query with its secrets masked, cut to what a line of a log can hold."""
    return dict(_shown(query))


def _shown(query: Query) -> Iterator[tuple[str, str]]:
    for number, key in enumerate(query.keys()):
        if number == _MOST:
            yield "…", ""
            return
        yield key[:_LONGEST], "***" if key.lower() in _SECRET else _masked(query.text(key))


def _masked(text: str) -> str:
    """Without the credentials that may stand in a URL."""
    return _CREDENTIALS.sub("***@", text)[:_LONGEST]
