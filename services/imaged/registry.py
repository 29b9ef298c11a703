"""The registry client: reads manifests and blobs by the OCI distribution specification 1.1; registry_push.py writes.

Loopback hosts and those listed as insecure are spoken to by plain HTTP, all others by HTTPS. What a registry sends is
bounded and checked by whoever asked. Errors are in Docker's words, which clients look for. Who asks is registry_auth's.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
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
from chassis.proxies import is_loopback, proxy
from chassis.version import VERSION
from imaged import manifest, registry_tls
from imaged.blobs import Ingest
from imaged.reference import DEFAULT_DOMAIN, Reference, check_tag
from imaged.registry_auth import Authenticator, scope_of
from imaged.registry_body import beginning
from imaged.registry_hosts import Endpoint
from imaged.registry_net import connect_reason, tls_reason
from pier.image.v1 import image_pb2 as pb

_HUB: Final = "registry-1.docker.io"
_PIECE: Final = 512 << 10
_ERROR_BODY: Final = 64 << 10
_ATTEMPTS: Final = 5
_ATTEMPTS_OF_A_MIRROR: Final = 2
_BACK_OFF: Final = 0.25  # seconds, doubled each time: 0.25, 0.5, 1, 2
_LONGEST: Final = 60.0
"""Seconds of a registry's Retry-After that are waited at most."""
_PULL: Final = "pull"
_TAGS_MAX: Final = 10_000
_AGAIN: Final = frozenset({429, 500, 502, 503, 504})


T = TypeVar("T")


@dataclass(frozen=True)
class Document:
    """A manifest or index as it was served; ``digest`` is of its bytes."""

    raw: bytes
    media_type: str
    digest: Digest


class Retry(Exception):
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
        certificates: str = "", endpoint: Endpoint | None = None, mirrors: str = "",
    ) -> None:
        """``endpoint``: where it is to be reached, where that is not its own host. ``mirrors`` is the registry that
        this one answers for, "" for itself."""
        if endpoint is None:
            host = _HUB if domain == DEFAULT_DOMAIN else domain
            scheme = "http" if domain in insecure or is_loopback(domain) else "https"
            endpoint = Endpoint(f"{scheme}://{host}")
        self.endpoint = endpoint
        self._host, self._base, self._root = endpoint.host, endpoint.base, endpoint.root
        self._asked_for = {"ns": mirrors} if mirrors else {}
        self._attempts = _ATTEMPTS_OF_A_MIRROR if mirrors else _ATTEMPTS
        scheme = self._base.partition(":")[0]
        limits = aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout)
        # Blobs are verified as they were stored: nothing may unpack them on the way.
        self._session = aiohttp.ClientSession(
            timeout=limits, auto_decompress=False, headers={"User-Agent": f"pier/{VERSION}"},
            connector=aiohttp.TCPConnector(limit_per_host=16), cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._proxy = proxy(scheme, self._host)
        self._tls = None if scheme == "http" else registry_tls.context(
            certificates, domain if endpoint.host in (domain, _HUB) else endpoint.host, endpoint)
        self._who = Authenticator(self._base, auth, self._session)

    async def close(self) -> None:
        await self._session.close()

    async def check(self) -> None:
        """Whether the registry takes the credentials. Unauthenticated where it does not."""

        async def ask() -> None:
            async with self._request("GET", f"{self._root}/") as response:
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

    def _of(self, named: Reference, rest: str) -> str:
        """The path of something in the repository of ``named``."""
        return f"{self._root}/{self.endpoint.repository(named.path)}/{rest}"

    def _scope(self, named: Reference, action: str) -> str:
        return scope_of(self.endpoint.repository(named.path), action)

    async def tags(self, named: Reference) -> list[str]:
        """All tags of the repository, as the registry lists them; at most a bounded number."""
        found: list[str] = []
        place: yarl.URL | str = self._of(named, "tags/list")

        async def page() -> tuple[list[str], str]:
            async with self._request("GET", place, self._scope(named, _PULL)) as response:
                if response.status != 200:
                    raise await self._failure(response, named)
                raw = await _bounded(response, manifest.MANIFEST_MAX)
                link = response.links.get("next")
                return _tags_of(raw, self._host), str(link.get("url", "")) if link is not None else ""

        while True:
            tags, following = await self._persist(page, lambda: None)
            found += tags
            if not following or not tags or len(found) > _TAGS_MAX:
                return found[:_TAGS_MAX]
            place = yarl.URL(following, encoded=True)
            if place.origin() != yarl.URL(self._base).origin():
                raise Unavailable(f"registry {self._host}: its list of tags goes on elsewhere",
                                  reason="REGISTRY_REFUSED")

    async def _persist(self, attempt: Callable[[], Awaitable[T]], again: Callable[[], None]) -> T:
        for number in range(1, self._attempts + 1):
            try:
                return await attempt()
            except Retry as retry:
                if number == self._attempts:
                    raise retry.error from None
                logger().info("registry: trying again", attempt=number, error=retry.error.message)
                pause = max(retry.after, _BACK_OFF * 2 ** (number - 1) * random.uniform(0.5, 1.5))  # noqa: S311
            again()
            await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def _manifest(self, named: Reference, reference: str) -> Document:
        async with self._get(self._of(named, f"manifests/{reference}"), named, {"Accept": manifest.ACCEPT}) as response:
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
        async with self._get(self._of(named, f"blobs/{digest}"), named, headers) as response:
            # A registry that knows no ranges sends all of it. What is here stays: it is being unpacked already, and the
            # digest tells at the end whether the two parts belong together.
            skip = ingest.offset if response.status != 206 else 0
            begins = response.headers.get("Content-Range", "")
            if response.status == 206 and not begins.startswith(f"bytes {ingest.offset}-"):
                raise Unavailable(f"registry {self._host}: it was asked for bytes from {ingest.offset} on and sends "
                                  f"{ascii(begins)[:60]}", reason="REGISTRY_REFUSED")
            await self._take(response, skip, size - ingest.offset, ingest, write, there)
        if ingest.offset < size:
            raise Retry(Unavailable(f"blob {digest}: {ingest.offset} of {size} bytes came", reason="TRANSFER_BROKEN"))

    async def _take(
        self, response: aiohttp.ClientResponse, skip: int, most: int, ingest: Ingest,
        write: Callable[[bytes], Awaitable[None]], there: Callable[[int], None],
    ) -> None:
        """Write what comes behind the first ``skip`` bytes, ``most`` at most; and what came before it broke off."""
        held = bytearray()

        async def flush() -> None:
            nonlocal most
            if held:
                most -= len(held)
                await write(bytes(held))
                held.clear()
                there(ingest.offset)

        try:
            async for part in self._parts(response):
                held += part[skip:]
                skip = max(0, skip - len(part))
                if len(held) > most:
                    raise DataLoss(f"blob {response.url.name}: more came than was promised", reason="DIGEST_MISMATCH")
                if len(held) >= _PIECE:
                    await flush()
        except Retry:
            await flush()
            raise
        await flush()

    async def _small_blob(self, named: Reference, digest: Digest, size: int) -> bytes:
        async with self._get(self._of(named, f"blobs/{digest}"), named, {}) as response:
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
            raise Retry(Unavailable(f"registry {self._host}: the transfer broke off: {error}",
                                     reason="TRANSFER_BROKEN")) from error

    @asynccontextmanager
    async def _get(self, path: str, named: Reference, headers: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        async with self._request("GET", path, self._scope(named, _PULL), headers=headers) as response:
            if response.status not in (200, 206):
                raise await self._failure(response, named)
            yield response

    @asynccontextmanager
    async def _request(
        self, method: str, path: str | yarl.URL, scope: str = "", *, headers: Mapping[str, str] | None = None,
        data: bytes | AsyncIterator[bytes] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = path if isinstance(path, yarl.URL) else yarl.URL(self._base + path, encoded=True)
        if self._asked_for and url.origin() == yarl.URL(self._base).origin():
            url = url.update_query(self._asked_for)
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
                    raise Retry(Unauthenticated("the registry wants to know who asks", reason="REGISTRY_AUTH"))

    async def _send(
        self, method: str, url: yarl.URL, headers: Mapping[str, str], data: bytes | AsyncIterator[bytes] | None
    ) -> aiohttp.ClientResponse:
        # A redirect to another origin takes no Authorization header along (aiohttp's rule; a test holds it).
        try:
            return await self._session.request(
                method, url, headers=headers, data=data, max_redirects=5, proxy=self._proxy,
                ssl=True if self._tls is None else self._tls)
        except (aiohttp.ClientConnectorSSLError, aiohttp.ClientConnectorCertificateError) as error:
            raise Unavailable(f'Get "{self._base}/v2/": tls: {tls_reason(error)}', reason="REGISTRY_TLS") from error
        except aiohttp.ClientConnectorError as error:
            # Nobody listens, or no such host: Docker says so at once, and so do we.
            raise Unavailable(f'Get "{self._base}/v2/": dial tcp {self._host}: {connect_reason(error)}',
                              reason="REGISTRY_DOWN") from error
        except aiohttp.InvalidURL as error:
            raise InvalidArgument(f"registry: {error} is not a URL", reason="BAD_REFERENCE") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Retry(Unavailable(
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
            return Retry(error, _seconds(response.headers.get("Retry-After", "")))
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


def _tags_of(raw: bytes, host: str) -> list[str]:
    try:
        tags = json.loads(raw).get("tags") or []
        return [check_tag(tag) for tag in tags]
    except (ValueError, TypeError, AttributeError, RecursionError, InvalidArgument) as error:
        raise Unavailable(f"registry {host}: its list of tags cannot be read", reason="REGISTRY_REFUSED") from error


def _seconds(text: str) -> float:
    """A Retry-After in seconds, as far as anybody would wait; a date counts as none."""
    return min(float(text), _LONGEST) if text.isdecimal() and len(text) < 10 else 0.0


async def _bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    raw = bytearray()
    try:
        async for part in response.content.iter_chunked(_PIECE):
            raw += part
            if len(raw) > limit:
                raise InvalidArgument(f"registry: more than {limit} bytes came", reason="TOO_LARGE")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Retry(Unavailable(f"registry: the transfer broke off: {error}", reason="TRANSFER_BROKEN")) from error
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
