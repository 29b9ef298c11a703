"""PierError → Docker's answer: a status and ``{"message": …}``."""

from __future__ import annotations

from aiohttp import web

from chassis.errors import InvalidArgument, NotModified, PierError
from gateway.rest import wire


def response(error: PierError) -> web.Response:
    """The answer that says ``error``. 304 has no body."""
    if isinstance(error, NotModified):
        return web.Response(status=304)
    return web.Response(
        status=error.http_status, body=wire.encode({"message": error.message}), content_type=wire.JSON,
    )


def bad(message: str, field: str = "", expected: str = "") -> InvalidArgument:
    """400 with ``message``."""
    return InvalidArgument(message, reason="BAD_REQUEST", field=field, expected=expected)


def members(error: BaseException) -> list[PierError]:
    """The PierErrors in ``error``, which may be a group of them; empty for what is none."""
    if isinstance(error, PierError):
        return [error]
    if isinstance(error, BaseExceptionGroup):
        return [each for member in error.exceptions for each in members(member)]
    return []
