"""The route table: method and path pattern → handler. Each module registers into one of its own.

Patterns are Docker's: ``{name}`` matches one segment, ``{name:.*}`` as much as it can, slashes included, so that the
suffix is matched from the right (an image called ``get/x``). The first pattern that matches wins: put
``/containers/json`` before ``/containers/{name}``.

Example::

    routes = Routes()

    @routes.get("/images/{name:.*}/json")
    async def inspect(call: Call) -> web.StreamResponse:
        return call.json({"Id": await find(call.path["name"])})
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from aiohttp import web

if TYPE_CHECKING:
    from gateway.rest.call import Call

Handler = Callable[["Call"], Awaitable[web.StreamResponse]]

_VARIABLE: Final = re.compile(r"\{(\w+)(:\.\*)?\}")


@dataclass(frozen=True)
class Route:
    """``pattern`` is the metric's label: a bounded set."""

    method: str
    pattern: str
    regex: re.Pattern[str]
    handler: Handler


class Routes:
    """The routes of one module, in the order in which they are tried."""

    def __init__(self) -> None:
        self.entries: list[Route] = []

    def add(self, method: str, pattern: str) -> Callable[[Handler], Handler]:
        """A decorator that registers its function."""

        def register(handler: Handler) -> Handler:
            self.entries.append(Route(method, pattern, _compile(pattern), handler))
            return handler

        return register

    def get(self, pattern: str) -> Callable[[Handler], Handler]:
        return self.add("GET", pattern)

    def head(self, pattern: str) -> Callable[[Handler], Handler]:
        return self.add("HEAD", pattern)

    def post(self, pattern: str) -> Callable[[Handler], Handler]:
        return self.add("POST", pattern)

    def put(self, pattern: str) -> Callable[[Handler], Handler]:
        return self.add("PUT", pattern)

    def delete(self, pattern: str) -> Callable[[Handler], Handler]:
        return self.add("DELETE", pattern)


def match(entries: Iterable[Route], method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """The route for ``path`` (still percent-encoded) and its variables, decoded; None where there is none."""
    for route in entries:
        if route.method == method and (found := route.regex.fullmatch(path)):
            return route, {key: unquote(value) for key, value in found.groupdict().items()}
    return None


def _compile(pattern: str) -> re.Pattern[str]:
    text, at = "", 0
    for variable in _VARIABLE.finditer(pattern):
        text += re.escape(pattern[at : variable.start()])
        text += f"(?P<{variable[1]}>{'.+' if variable[2] else '[^/]+'})"
        at = variable.end()
    return re.compile(text + re.escape(pattern[at:]))
