"""The registry client: reads and writes manifests and blobs by the OCI distribution specification 1.1, anonymously.

Loopback hosts and those listed as insecure are spoken to by plain HTTP, all others by HTTPS. What a registry sends is
bounded and checked by whoever asked. Errors are in Docker's words, which clients look for. Credentials are not built
yet; none are ever sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import aiohttp
import yarl

from chassis.errors import (
    DataLoss,
    InvalidArgument,
    NotFound,
    PierError,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from chassis.ids import Digest
from chassis.ids import digest as check_digest
from chassis.logs import logger
from chassis.version import VERSION
from imaged import manifest
from imaged.blobs import Ingest
from imaged.reference import DEFAULT_DOMAIN, Reference

_HUB: Final = "registry-1.docker.io"
_PIECE: Final = 512 << 10
_ERROR_BODY: Final = 64 << 10
_ATTEMPTS: Final = 5
_BACK_OFF: Final = 0.25  # seconds, doubled each time: 0.25, 0.5, 1, 2
_AGAIN: Final = frozenset({429, 500, 502, 503, 504})


T = TypeVar("T")


@dataclass(frozen=True)
class Document:
    """A manifest or index as it was served; ``digest`` is of its bytes."""

    raw: bytes
    media_type: str
    digest: Digest


class _Retry(Exception):
    """What may go better next time; ``error`` is what it is if it does not."""

    def __init__(self, error: PierError) -> None:
        super().__init__(error.message)
        self.error = error


class RegistryClient:
    """One registry, for the length of one pull or push. ``timeout`` is in seconds, for connecting and between bytes."""

    def __init__(self, domain: str, *, insecure: frozenset[str] = frozenset(), timeout: float = 30.0) -> None:
        self._host = _HUB if domain == DEFAULT_DOMAIN else domain
        scheme = "http" if domain in insecure or is_loopback(domain) else "https"
        self._base = f"{scheme}://{self._host}"
        limits = aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout)
        # Blobs are verified as they were stored: nothing may unpack them on the way.
        self._session = aiohttp.ClientSession(
            timeout=limits, auto_decompress=False, headers={"User-Agent": f"pier/{VERSION}"},
            connector=aiohttp.TCPConnector(limit_per_host=16), cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        await self._session.close()

    async def manifest(self, named: Reference, reference: str) -> Document:
        """The manifest or index ``reference`` (a tag or digest) of the repository of ``named``."""
        return await self._persist(lambda: self._manifest(named, reference), lambda: None)

    async def blob(
        self, named: Reference, digest: Digest, size: int, ingest: Ingest, write: Callable[[bytes], Awaitable[None]],
        there: Callable[[int], None], again: Callable[[], None],
    ) -> None:
        """Bring a blob of ``size`` bytes into ``ingest``, from where it is on. ``write`` appends a piece (awaitable).

        Broken transfers are gone on with; ``again`` is told before each further attempt.
        """
        await self._persist(lambda: self._blob(named, digest, size, ingest, write, there), again)

    async def small_blob(self, named: Reference, digest: Digest, size: int) -> bytes:
        """A blob of ``size`` bytes that fits into memory, verified."""
        return await self._persist(lambda: self._small_blob(named, digest, size), lambda: None)

    async def has_blob(self, named: Reference, digest: Digest) -> bool:
        """Whether the repository of ``named`` has the blob."""

        async def ask() -> bool:
            async with self._request("HEAD", f"/v2/{named.path}/blobs/{digest}") as response:
                if response.status == 404:
                    return False
                await self._check_push(response, named)
                return True

        return await self._persist(ask, lambda: None)

    async def put_blob(
        self, named: Reference, digest: Digest, size: int, pieces: Callable[[], AsyncIterator[bytes]]
    ) -> None:
        """Upload a blob of ``size`` bytes; ``pieces`` gives them from the beginning, at each attempt anew."""

        async def attempt() -> None:
            async with self._request("POST", f"/v2/{named.path}/blobs/uploads/") as response:
                await self._check_push(response, named)
                place = response.headers.get("Location", "")
            if not place:
                raise Unavailable(f"registry {self._host}: it names no place for an upload", reason="REGISTRY_REFUSED")
            target = yarl.URL(self._base).join(yarl.URL(place, encoded=True))
            async with self._request("PUT", target.update_query(digest=digest), data=pieces(), headers={
                "Content-Type": "application/octet-stream", "Content-Length": str(size),
            }) as response:
                await self._check_push(response, named)

        await self._persist(attempt, lambda: None)

    async def put_manifest(self, named: Reference, raw: bytes, media_type: str) -> None:
        """Upload a manifest under the tag of ``named``. All that it names is there."""

        async def attempt() -> None:
            path = f"/v2/{named.path}/manifests/{named.tag}"
            async with self._request("PUT", path, data=raw, headers={"Content-Type": media_type}) as response:
                await self._check_push(response, named)

        await self._persist(attempt, lambda: None)

    async def _check_push(self, response: aiohttp.ClientResponse, named: Reference) -> None:
        if response.status < 300:
            return
        error = await self._failure(response, named)
        if isinstance(error, Unauthenticated | NotFound) and response.status in (401, 403):
            error.message = f"push access denied for {named.familiar_name}: {error.message.rpartition(': ')[2]}"
        raise error

    async def _persist(self, attempt: Callable[[], Awaitable[T]], again: Callable[[], None]) -> T:
        for number in range(1, _ATTEMPTS + 1):
            try:
                return await attempt()
            except _Retry as retry:
                if number == _ATTEMPTS:
                    raise retry.error from None
                logger().info("registry: trying again", attempt=number, error=retry.error.message)
            again()
            await asyncio.sleep(_BACK_OFF * 2 ** (number - 1))
        raise AssertionError("unreachable")

    async def _manifest(self, named: Reference, reference: str) -> Document:
        path = f"/v2/{named.path}/manifests/{reference}"
        async with self._get(path, named, {"Accept": manifest.ACCEPT}) as response:
            raw = await _bounded(response, manifest.MANIFEST_MAX)
            media_type = response.headers.get("Content-Type", "")
            told = response.headers.get("Docker-Content-Digest")
        own = check_digest("sha256:" + hashlib.sha256(raw).hexdigest())
        wanted = reference if reference.startswith("sha256:") else told
        if wanted is not None and wanted.startswith("sha256:") and wanted != own:
            raise DataLoss(
                f"manifest of {named.familiar}: its digest is {own}, {wanted} was promised", reason="DIGEST_MISMATCH")
        return Document(raw, media_type, own)

    async def _blob(
        self, named: Reference, digest: Digest, size: int, ingest: Ingest, write: Callable[[bytes], Awaitable[None]],
        there: Callable[[int], None],
    ) -> None:
        if ingest.offset > size:
            ingest.restart()
        if ingest.offset == size:
            there(size)
            return
        headers = {"Range": f"bytes={ingest.offset}-"} if ingest.offset else {}
        async with self._get(f"/v2/{named.path}/blobs/{digest}", named, headers) as response:
            # A registry that knows no ranges sends all of it. What is here stays: it is being unpacked already, and the
            # digest tells at the end whether the two parts belong together.
            skip = ingest.offset if response.status != 206 else 0
            held = bytearray()
            async for part in self._parts(response):
                held += part[skip:]
                skip = max(0, skip - len(part))
                if ingest.offset + len(held) > size:
                    raise DataLoss(f"blob {digest}: more than {size} bytes came", reason="DIGEST_MISMATCH")
                if len(held) >= _PIECE:
                    await write(bytes(held))
                    held.clear()
                    there(ingest.offset)
            if held:
                await write(bytes(held))
                there(ingest.offset)
        if ingest.offset < size:
            raise _Retry(Unavailable(f"blob {digest}: {ingest.offset} of {size} bytes came", reason="TRANSFER_BROKEN"))

    async def _small_blob(self, named: Reference, digest: Digest, size: int) -> bytes:
        async with self._get(f"/v2/{named.path}/blobs/{digest}", named, {}) as response:
            raw = await _bounded(response, size)
        own = "sha256:" + hashlib.sha256(raw).hexdigest()
        if own != digest or len(raw) != size:
            raise DataLoss(f"blob {digest}: {len(raw)} bytes with digest {own} came", reason="DIGEST_MISMATCH")
        return raw

    async def _parts(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        try:
            async for part in response.content.iter_chunked(_PIECE):
                yield part
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _Retry(Unavailable(f"registry {self._host}: the transfer broke off: {error}",
                                     reason="TRANSFER_BROKEN")) from error

    @asynccontextmanager
    async def _get(self, path: str, named: Reference, headers: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        async with self._request("GET", path, headers=headers) as response:
            if response.status not in (200, 206):
                raise await self._failure(response, named)
            yield response

    @asynccontextmanager
    async def _request(
        self, method: str, path: str | yarl.URL, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = path if isinstance(path, yarl.URL) else self._base + path
        try:
            response = await self._session.request(method, url, max_redirects=5, **options)
        except aiohttp.ClientConnectorError as error:
            # Nobody listens, or no such host: Docker says so at once, and so do we.
            raise Unavailable(
                f'Get "{self._base}/v2/": dial tcp {self._host}: {_reason(error)}', reason="REGISTRY_DOWN") from error
        except aiohttp.InvalidURL as error:
            raise InvalidArgument(f"registry: {error} is not a URL", reason="BAD_REFERENCE") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _Retry(Unavailable(
                f'{method.capitalize()} "{url}": {str(error) or type(error).__name__}', reason="REGISTRY_DOWN",
            )) from error
        async with response:
            yield response

    async def _failure(self, response: aiohttp.ClientResponse, named: Reference) -> Exception:
        code, text = await _first_error(response)
        shown = f"{code.lower().replace('_', ' ')}: {text}" if code else f"status {response.status}"
        if response.status in _AGAIN:
            error: PierError = Unavailable(f"registry {self._host}: {shown}", reason="REGISTRY_DOWN")
            if response.status == 429:
                error = ResourceExhausted(f"toomanyrequests: {text or 'registry ' + self._host}", reason="TOO_MANY")
            return _Retry(error)
        if response.status == 401:
            return Unauthenticated(
                f"pull access denied for {named.familiar_name}, repository does not exist or may require "
                f"'docker login': {shown}", reason="REGISTRY_AUTH")
        if response.status == 403 or code == "DENIED":
            return NotFound(
                f"pull access denied for {named.familiar_name}, repository does not exist or may require "
                f"'docker login': {shown}", reason="DENIED")
        if code == "NAME_UNKNOWN":
            return NotFound(f"repository {named.familiar_name} not found: {shown}", reason="NO_REPOSITORY")
        if response.status == 404:
            return NotFound(f"manifest for {named.familiar} not found: {shown}", reason="NO_MANIFEST")
        return Unavailable(f"registry {self._host}: {shown}", reason="REGISTRY_REFUSED")


def is_loopback(domain: str) -> bool:
    """Whether the host of ``domain`` (with or without a port) is this machine."""
    host = domain[1 : domain.index("]")] if domain.startswith("[") else domain.partition(":")[0]
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _reason(error: aiohttp.ClientConnectorError) -> str:
    number = error.os_error.errno
    if number is None or number <= 0:
        return f"lookup: {error.os_error.strerror or error}"
    return f"connect: {os.strerror(number).lower()}"  # asyncio's own text is about its arguments


async def _bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    raw = bytearray()
    try:
        async for part in response.content.iter_chunked(_PIECE):
            raw += part
            if len(raw) > limit:
                raise InvalidArgument(f"registry: more than {limit} bytes came", reason="TOO_LARGE")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _Retry(Unavailable(f"registry: the transfer broke off: {error}", reason="TRANSFER_BROKEN")) from error
    return bytes(raw)


async def _first_error(response: aiohttp.ClientResponse) -> tuple[str, str]:
    """Code and message of the first error in a failed response's body; "" where there is none to be read."""
    try:
        body = json.loads(await response.content.read(_ERROR_BODY))
        first = body["errors"][0]
        code, text = str(first.get("code", "")), str(first.get("message", ""))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, aiohttp.ClientError, TimeoutError):
        return "", ""
    return code[:64], ascii(text[:300])[1:-1]
