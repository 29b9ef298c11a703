"""A request's body as it comes, in blocks that are worth a gRPC message."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from gateway.rest.call import Call

_BLOCK: Final = 256 << 10


async def blocks(call: Call) -> AsyncIterator[bytes]:
    """The whole body in pieces of about 256 KiB. A client that breaks off is an error, never a short body."""
    held = bytearray()
    async for part in call.http.content.iter_any():
        held += part
        if len(held) >= _BLOCK:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)
