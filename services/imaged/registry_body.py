"""What a registry or its token server answers, as far as it is wanted."""

from __future__ import annotations

import aiohttp


async def beginning(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body's first ``limit`` bytes, or all of a shorter one. What it raises is aiohttp's, and TimeoutError."""
    raw = bytearray()
    async for part in response.content.iter_chunked(limit):
        raw += part
        if len(raw) >= limit:
            break
    return bytes(raw[:limit])
