"""What is at a URL, for an import. Of this host's environment its proxies count, no netrc and no cookies."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from chassis.errors import Internal, InvalidArgument, PierError
from chassis.fetching import opened

_PATIENCE: Final = 30.0
"""Seconds for a connection, and between two pieces."""
_PIECE: Final = 256 << 10
_SHOWN: Final = 200


def checked(text: str) -> str:
    """The URL that ``text`` means; without a scheme it is http, as Docker has it. InvalidArgument for another one."""
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        good = False
    if not good:
        raise InvalidArgument(f"fromSrc: {text[:_SHOWN]!a} is no URL that can be fetched", reason="BAD_URL",
                              field="fromSrc", expected='"-", or an http or https URL')
    return url


class Remote:
    """The file at ``url``. gRPC cancels a call whose messages fail and does not say why: ``failure`` does."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.failure: PierError | None = None

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Its bytes. Internal (FETCH_FAILED), as Docker's status is, where they cannot be had."""
        try:
            async with opened(self.url, _PATIENCE) as response:
                if response.status >= 400:
                    raise self._failed(f" with status {response.status} {response.reason}")
                async for piece in response.content.iter_chunked(_PIECE):
                    yield piece
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            raise self._failed(f": {str(error) or type(error).__name__}") from error

    def _failed(self, why: str) -> PierError:
        self.failure = Internal(f"failed to GET {self.url}{why}", reason="FETCH_FAILED")
        return self.failure
