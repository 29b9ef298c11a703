"""One request as a handler sees it, and the answers that it can make."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from chassis import context
from chassis.version import VERSION
from gateway.engine import Engine
from gateway.rest import body, filters, wire
from gateway.rest.errors import bad
from gateway.rest.versions import NEWEST, Version

RAW: Final = "application/vnd.docker.raw-stream"
MULTIPLEXED: Final = "application/vnd.docker.multiplexed-stream"


class Query:
    """The query's values; of a repeated key ``text`` gives the first."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def keys(self) -> list[str]:
        return [str(key) for key in self._values]

    def text(self, key: str, default: str = "") -> str:
        return str(self._values.get(key, default))

    def all(self, key: str) -> list[str]:
        return [str(value) for value in self._values.getall(key, ())]

    def boolean(self, key: str, default: bool = False) -> bool:
        return wire.is_true(self._values[key]) if key in self._values else default

    def integer(self, key: str, default: int | None = None) -> int | None:
        """400 for what is no integer; "" is as good as absent."""
        text = self.text(key)
        if not text:
            return default
        try:
            value = int(text)
        except ValueError:
            raise bad(f"{key}: {text[:80]!a} is not an integer", field=key, expected="an integer") from None
        if not -(1 << 63) <= value < 1 << 63:
            raise bad(f"{key}: {text[:80]!a} is out of range", field=key, expected="an integer of 64 bits")
        return value

    def time_ns(self, key: str) -> int | None:
        """Unix seconds, with up to nine digits of fraction, as nanoseconds; None for "" and 0. 400 for another word."""
        text = self.text(key)
        if not text:
            return None
        whole, _, fraction = text.partition(".")
        try:
            if not fraction.isascii() or (fraction and not fraction.isdigit()):
                raise ValueError
            seconds = int(whole)
        except ValueError:
            raise bad(f"{key}: {text[:80]!a} is not a time in unix seconds", field=key) from None
        if abs(seconds) > 1 << 33:
            raise bad(f"{key}: {text[:80]!a} is out of range", field=key)
        nanoseconds = int((fraction + "0" * 9)[:9])
        value = seconds * 10**9 + int(math.copysign(nanoseconds, -1 if whole.startswith("-") else 1))
        return value or None


@dataclass(frozen=True)
class Call:
    """``path`` holds the pattern's variables, decoded."""

    http: web.BaseRequest
    engine: Engine
    version: Version
    path: Mapping[str, str]
    query: Query

    def filters(self, *known: str) -> filters.Filters:
        """The ``filters`` query, whose keys are among ``known``."""
        return filters.parse(self.query.text("filters"), known)

    async def data(self, limit: int = body.LIMIT) -> bytes:
        """The whole body. 400 where it is longer than ``limit`` bytes."""
        parts, size = [], 0
        async for chunk in self.http.content.iter_any():
            size += len(chunk)
            if size > limit:
                raise bad(f"request body: more than {limit} bytes")
            parts.append(chunk)
        return b"".join(parts)

    async def body(self, *, required: bool = True) -> body.Fields:
        """The body's JSON object. 400 for another content type, no JSON, or more than one value.

        Where it is not ``required``, an empty body is the empty object.
        """
        data = await self.data()
        if not data and not required:
            return body.Fields({})
        kind = self.http.headers.get("Content-Type", "")
        if kind.partition(";")[0].strip().lower() != wire.JSON:
            raise bad(f"unsupported Content-Type header ({kind}): must be 'application/json'", field="Content-Type")
        if not data:
            raise bad("invalid JSON: got EOF while reading request body")
        return body.decode(data)

    def json(self, value: Any, status: int = 200) -> web.Response:
        return web.Response(status=status, body=wire.encode(value), content_type=wire.JSON)

    def empty(self, status: int = 204) -> web.Response:
        return web.Response(status=status)

    async def stream(
        self, content_type: str = wire.JSON, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> web.StreamResponse:
        """A chunked answer whose head is sent at once; write to it, and return it."""
        response = web.StreamResponse(status=status, headers=headers)
        response.content_type = content_type
        response.enable_chunked_encoding()
        self.stamp(response)
        await response.prepare(self.http)
        return response

    def stamp(self, response: web.StreamResponse) -> None:
        """What every answer carries."""
        response.headers.update(standing_headers())


def standing_headers() -> dict[str, str]:
    """The headers of every answer to the request being served."""
    headers = {
        "Api-Version": str(NEWEST), "Docker-Experimental": "false", "Ostype": "linux",
        "Server": f"Docker/{VERSION} (linux)",
    }
    if request_id := context.request_id.get():
        headers["X-Request-Id"] = request_id
    return headers
