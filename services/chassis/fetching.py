"""Files of other hosts by their URLs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from chassis.proxies import proxy_of
from chassis.version import VERSION


@asynccontextmanager
async def opened(url: str, patience: float) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer to a GET, its body not decoded, for as long as the block lasts. ``patience`` in seconds for a
    connection, and between two pieces. Of this host's environment its proxies count, no netrc and no cookies.

    aiohttp.ClientError, TimeoutError, ValueError, OSError.
    """
    limits = aiohttp.ClientTimeout(total=None, sock_connect=patience, sock_read=patience)
    async with (
        aiohttp.ClientSession(
            timeout=limits, trust_env=False, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"pier/{VERSION}", "Accept-Encoding": "identity"},
        ) as session,
        session.get(url, max_redirects=10, proxy=proxy_of(url)) as response,
    ):
        yield response
