"""Files at a URL: what ADD names, and contexts that are not sent along.

Of this host's environment its proxies count (HTTPS_PROXY, NO_PROXY, …), no netrc and no cookies.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import IO, Final
from urllib.parse import unquote, urlsplit

import aiohttp

from buildd.state import State
from chassis.errors import DataLoss, InvalidArgument, NotFound, PierError, ResourceExhausted, Unavailable
from chassis.fetching import opened
from chassis.stages import stage
from chassis.tar import END, Entry, Writer

_PIECE: Final = 256 << 10
_CHECKSUM: Final = re.compile(r"sha256:[0-9a-f]{64}")
_BLOCK: Final = 512


@dataclass(frozen=True)
class Fetched:
    """``name`` is the last word of the URL's path, "" for none. ``file`` is closed by the build."""

    name: bytes
    size: int
    mtime_ns: int
    digest: str
    file: IO[bytes]


class Remote:
    """What is at a URL. With a checksum it is fetched when it is needed, else it had to be to know its ``digest``."""

    def __init__(self, state: State, stack: AsyncExitStack, url: str, checksum: str) -> None:
        self._state, self._stack, self._url = state, stack, url
        self.digest = checksum
        self._fetched: Fetched | None = None

    async def fetched(self) -> Fetched:
        """DataLoss where it is not what the checksum says."""
        if self._fetched is None:
            self._fetched = await fetch(self._state, self._stack, self._url)
            self.digest = self.digest or self._fetched.digest
        if self._fetched.digest != self.digest:
            raise DataLoss(f"{shown(self._url)}: digest mismatch {self._fetched.digest}: {self.digest}",
                           reason="DIGEST_MISMATCH", field="checksum")
        return self._fetched


async def remote(state: State, stack: AsyncExitStack, url: str, checksum: str) -> Remote:
    """InvalidArgument for a checksum that is none."""
    if checksum and not _CHECKSUM.fullmatch(checksum):
        raise InvalidArgument(f"invalid checksum: {checksum[:80]!a}", reason="BAD_CHECKSUM", field="checksum",
                              expected="sha256: and 64 hexadecimal digits")
    made = Remote(state, stack, url, checksum)
    if not checksum:
        await made.fetched()
    return made


async def fetch(state: State, stack: AsyncExitStack, url: str) -> Fetched:
    """The file at ``url``. NotFound, Unavailable, ResourceExhausted (TOO_LARGE)."""
    async with stage("build.fetch", url=shown(url)):
        try:
            async with opened(url, state.settings.fetch_timeout) as response:
                if response.status != 200:
                    raise _refused(url, response.status)
                return await _kept(state, stack, url, response)
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            raise Unavailable(f"{shown(url)}: {str(error) or type(error).__name__}", reason="FETCH_FAILED") from error


def _refused(url: str, status: int) -> PierError:
    message = f"{shown(url)}: invalid response status {status}"
    return NotFound(message, reason="FETCH_FAILED") if status in (404, 410) else Unavailable(
        message, reason="FETCH_FAILED")


async def _kept(state: State, stack: AsyncExitStack, url: str, response: aiohttp.ClientResponse) -> Fetched:
    file: IO[bytes] = await state.files.run(tempfile.TemporaryFile, dir=state.directory)
    stack.callback(file.close)
    digest, size = hashlib.sha256(), 0
    async for piece in response.content.iter_chunked(_PIECE):
        size += len(piece)
        if size > state.settings.fetch_max_bytes:
            raise ResourceExhausted(f"{shown(url)}: larger than {state.settings.fetch_max_bytes} bytes",
                                    reason="TOO_LARGE", field="fetch_max_bytes")
        digest.update(piece)
        await state.files.run(file.write, piece)
    name = posixpath.basename(unquote(urlsplit(url).path))
    return Fetched(
        b"" if name in ("", ".", "..") or "\0" in name else name.encode("utf-8", "surrogateescape"), size,
        _modified(response.headers.get("Last-Modified", "")), f"sha256:{digest.hexdigest()}", file)


def _modified(text: str) -> int:
    """The header's time in nanoseconds; 0 for none."""
    try:
        return max(0, int(parsedate_to_datetime(text).timestamp())) * 10**9
    except (ValueError, TypeError, OverflowError):
        return 0


async def as_tar(state: State, entry: Entry, fetched: Fetched) -> AsyncIterator[bytes]:
    """The file as a tar of one entry."""
    header = next(Writer.pieces(entry))
    yield header
    async for piece in content(state, fetched):
        yield piece
    yield bytes(-fetched.size % _BLOCK) + END


async def content(state: State, fetched: Fetched) -> AsyncIterator[bytes]:
    """What was fetched, from its beginning."""
    await state.files.run(fetched.file.seek, 0)
    while piece := await state.files.run(fetched.file.read, _PIECE):
        yield piece


def shown(url: str) -> str:
    """The URL for people, without what may be a password or a token."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"[:200]
