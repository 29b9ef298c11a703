"""aiohttp's connection, extended by what a raw upgrade needs: the end of input is kept, and so are early bytes."""

from __future__ import annotations

from aiohttp import web


class Handler(web.RequestHandler):  # type: ignore[type-arg]  # generic in the stub, not in the library
    """One client's connection."""

    __slots__ = ("_ended",)

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self._ended = False
