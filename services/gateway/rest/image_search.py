"""GET /images/search: no index can be asked, which is told as Docker tells it of a registry that has none."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from chassis.errors import Internal
from gateway.rest.call import Call
from gateway.rest.errors import bad
from gateway.rest.routes import Routes

routes: Final = Routes()

_FILTERS: Final = ("is-automated", "is-official", "stars")
_MOST: Final = 100
_HUB: Final = "docker.io"


@routes.get("/images/search")
async def search(call: Call) -> web.StreamResponse:
    """400 for what Docker refuses before it asks; else 500: registries (OCI distribution 1.1) have no search, and the
    hub's index of its own is not spoken."""
    term = call.query.text("term")
    limit = call.query.integer("limit") or 25
    if not 1 <= limit <= _MOST:
        raise bad(f"limit {limit} is outside the range of [1, {_MOST}]", field="limit", expected=f"1 to {_MOST}")
    wanted = call.filters(*_FILTERS)
    for name in ("is-automated", "is-official"):
        wanted.boolean(name)
    if "://" in term:
        raise bad(f"invalid repository name: {term[:80]} (must not have a scheme)", field="term")
    raise Internal(f"cannot search for {term[:80]!a}: {_host(term)} has no index that this engine can ask: pull the "
                   "image by its name", reason="NO_INDEX", field="term")


def _host(term: str) -> str:
    """The registry in front of the term, as in front of an image's name."""
    first, slash, _ = term.partition("/")
    return first[:80] if slash and ("." in first or ":" in first or first == "localhost") else _HUB
