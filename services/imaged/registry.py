"""The registry client: reads and writes manifests and blobs by the OCI distribution specification 1.1.

Loopback hosts and those listed as insecure are spoken to by plain HTTP, all others by HTTPS. What a registry sends is
bounded and checked by whoever asked. Errors are in Docker's words, which clients look for. Who asks is registry_auth's.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import os
import random
import ssl
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

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
from imaged import manifest, registry_tls
from imaged.blobs import Ingest
from imaged.reference import DEFAULT_DOMAIN, Reference
from imaged.registry_auth import Authenticator, scope_of
from imaged.registry_body import beginning
from pier.image.v1 import image_pb2 as pb

_HUB: Final = "registry-1.docker.io"
_PIECE: Final = 512 << 10
_ERROR_BODY: Final = 64 << 10
_ATTEMPTS: Final = 5
_BACK_OFF: Final = 0.25  # seconds, doubled each time: 0.25, 0.5, 1, 2
_LONGEST: Final = 60.0
"""Seconds of a registry's Retry-After that are waited at most."""
_PULL: Final = "pull"
_PUSH: Final = "pull,push"
_AGAIN: Final = frozenset({429, 500, 502, 503, 504})


T = TypeVar("T")


@dataclass(frozen=True)
class Document:
    """A manifest or index as it was served; ``digest`` is of its bytes."""

    raw: bytes
    media_type: str
    digest: Digest


class _Retry(Exception):
    """What may go better next time; ``error`` is what it is if it does not. ``after``: seconds that the registry asks
    for before that."""

    def __init__(self, error: PierError, after: float = 0.0) -> None:
        super().__init__(error.message)
        self.error = error
        self.after = after


class RegistryClient:
    """One registry, for the length of one pull or push. ``timeout`` is in seconds, for connecting and between bytes."""

    def __init__(
        self, domain: str, auth: pb.RegistryAuth, *, insecure: frozenset[str] = frozenset(), timeout: float = 30.0,
        certificates: str = "",
    ) -> None:
        self._host = _HUB if domain == DEFAULT_DOMAIN else domain
        scheme = "http" if domain in insecure or is_loopback(domain) else "https"
        self._base = f"{scheme}://{self._host}"
        limits = aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout)
        # Blobs are verified as they were stored: nothing may unpack them on the way.
        self._session = aiohttp.ClientSession(
            timeout=limits, auto_decompress=False, headers={"User-Agent": f"pier/{VERSION}"},
            connector=aiohttp.TCPConnector(limit_per_host=16), cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._proxy = _proxy(scheme, self._host)
        self._tls = None if scheme == "http" else registry_tls.context(certificates, domain)
        self._who = Authenticator(self._base, auth, self._session)

    async def close(self) -> None:
        await self._session.close()

    async def check(self) -> None:
        """Whether the registry takes the credentials. Unauthenticated where it does not."""

        async def ask() -> None:
            async with self._request("GET", "/v2/") as response:
                if response.status == 401:
                    raise Unauthenticated(f'Get "{self._base}/v2/": unauthorized: incorrect username or password',
                                          reason="REGISTRY_AUTH")
                if response.status != 200:
                    code, text = await _first_error(response)
                    raise Unavailable(f'Get "{self._base}/v2/": {code or response.status} {text}'.rstrip(),
                                      reason="REGISTRY_REFUSED")

        await self._persist(ask, lambda: None)

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
            path = f"/v2/{named.path}/blobs/{digest}"
            async with self._request("HEAD", path, scope_of(named.path, _PUSH)) as response:
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
            scope = scope_of(named.path, _PUSH)
            async with self._request("POST", f"/v2/{named.path}/blobs/uploads/", scope) as response:
                await self._check_push(response, named)
                place = response.headers.get("Location", "")
            if not place:
                raise Unavailable(f"registry {self._host}: it names no place for an upload", reason="REGISTRY_REFUSED")
            target = yarl.URL(self._base).join(yarl.URL(place, encoded=True))
            async with self._request("PUT", target.update_query(digest=digest), scope, data=pieces(), headers={
                "Content-Type": "application/octet-stream", "Content-Length": str(size),
            }) as response:
                await self._check_push(response, named)

        await self._persist(attempt, lambda: None)

    async def put_manifest(self, named: Reference, raw: bytes, media_type: str) -> None:
        """Upload a manifest under the tag of ``named``. All that it names is there."""

        async def attempt() -> None:
            path = f"/v2/{named.path}/manifests/{named.tag}"
            scope, headers = scope_of(named.path, _PUSH), {"Content-Type": media_type}
            async with self._request("PUT", path, scope, data=raw, headers=headers) as response:
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
                pause = max(retry.after, _BACK_OFF * 2 ** (number - 1) * random.uniform(0.5, 1.5))  # noqa: S311
            again()
            await asyncio.sleep(pause)
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
            begins = response.headers.get("Content-Range", "")
            if response.status == 206 and not begins.startswith(f"bytes {ingest.offset}-"):
                raise Unavailable(f"registry {self._host}: it was asked for bytes from {ingest.offset} on and sends "
                                  f"{ascii(begins)[:60]}", reason="REGISTRY_REFUSED")
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
        async with self._request("GET", path, scope_of(named.path, _PULL), headers=headers) as response:
            if response.status not in (200, 206):
                raise await self._failure(response, named)
            yield response

    @asynccontextmanager
    async def _request(
        self, method: str, path: str | yarl.URL, scope: str = "", *, headers: Mapping[str, str] | None = None,
        data: bytes | AsyncIterator[bytes] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = path if isinstance(path, yarl.URL) else yarl.URL(self._base + path, encoded=True)
        for last in (False, False, True):
            who = await self._who.header(url, scope)
            response = await self._send(method, url, {**(headers or {}), **who}, data)
            async with response:
                again = response.status == 401 and not last and self._who.answer(
                    response, scope, who.get("Authorization"))
                if not again:
                    yield response
                    return
                if data is not None and not isinstance(data, bytes):  # its pieces are spent
                    raise _Retry(Unauthenticated("the registry wants to know who asks", reason="REGISTRY_AUTH"))

    async def _send(
        self, method: str, url: yarl.URL, headers: Mapping[str, str], data: bytes | AsyncIterator[bytes] | None
    ) -> aiohttp.ClientResponse:
        # A redirect to another origin takes no Authorization header along (aiohttp's rule; a test holds it).
        try:
            return await self._session.request(
                method, url, headers=headers, data=data, max_redirects=5, proxy=self._proxy,
                ssl=True if self._tls is None else self._tls)
        except (aiohttp.ClientConnectorSSLError, aiohttp.ClientConnectorCertificateError) as error:
            raise Unavailable(f'Get "{self._base}/v2/": tls: {_tls_reason(error)}', reason="REGISTRY_TLS") from error
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

    async def _failure(self, response: aiohttp.ClientResponse, named: Reference) -> Exception:
        code, text = await _first_error(response)
        shown = f"{code.lower().replace('_', ' ')}: {text}" if code else (
            "authentication required" if response.status == 401 else f"status {response.status}")
        if response.status in _AGAIN:
            error: PierError = Unavailable(f"registry {self._host}: {shown}", reason="REGISTRY_DOWN")
            if response.status == 429:
                error = ResourceExhausted(f"toomanyrequests: {text or 'registry ' + self._host}", reason="TOO_MANY")
            return _Retry(error, _seconds(response.headers.get("Retry-After", "")))
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


def _proxy(scheme: str, host: str) -> str | None:
    """The proxy that the environment names (HTTPS_PROXY, NO_PROXY, …); never one for this machine."""
    if is_loopback(host) or urllib.request.proxy_bypass_environment(host):  # type: ignore[attr-defined]
        return None
    return urllib.request.getproxies_environment().get(scheme)


def _seconds(text: str) -> float:
    """A Retry-After in seconds, as far as anybody would wait; a date counts as none."""
    return min(float(text), _LONGEST) if text.isdecimal() and len(text) < 10 else 0.0


def _tls_reason(error: Exception) -> str:
    """What OpenSSL says of the other side, without where in its source it does."""
    cause: object = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"failed to verify certificate: {cause.verify_message}"
    return str(getattr(cause, "reason", None) or cause).lower().replace("_", " ")


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
        body = json.loads(await beginning(response, _ERROR_BODY))
        first = body["errors"][0]
        code, text = str(first.get("code", "")), str(first.get("message", ""))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, aiohttp.ClientError, TimeoutError):
        return "", ""
    return code[:64], ascii(text[:300])[1:-1]
