"""Writing to a registry: blobs mounted from another repository, whole or in chunks, and manifests.

Source: OCI distribution specification 1.1, "Pushing".
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import aiohttp
import yarl

from chassis.errors import NotFound, PierError, ResourceExhausted, Unauthenticated, Unavailable
from chassis.ids import Digest
from imaged.reference import Reference
from imaged.registry import RegistryClient, Retry
from imaged.registry_auth import scope_of

_PUSH: Final = "pull,push"
_TOO_LARGE: Final = 413
_CHUNK: Final = 16 << 20
"""Bytes of a chunk where a registry, or what stands before it, does not take a blob whole."""
_AGAIN: Final = 5

Pieces = Callable[[int, int], AsyncIterator[bytes]]
"""The bytes of a blob from an offset on, so many."""


class Uploader(RegistryClient):
    """A registry that is pushed to. ``chunk``: bytes that one request carries at most, 0 for all."""

    chunk = 0

    async def has_blob(self, named: Reference, digest: Digest) -> bool:
        """Whether the repository of ``named`` has the blob."""

        async def ask() -> bool:
            async with self._request("HEAD", self._of(named, f"blobs/{digest}"), self._scope(named, _PUSH)) as response:
                if response.status == 404:
                    return False
                await self._check_push(response, named)
                return True

        return await self._persist(ask, lambda: None)

    async def mount_blob(self, named: Reference, digest: Digest, sources: Sequence[str]) -> bool:
        """Take the blob over from one of the repositories ``sources`` of this registry; whether one gave it. A registry
        that will not is no error: the blob is uploaded then."""
        for source in sources:
            url = yarl.URL(self._base + self._of(named, "blobs/uploads/"), encoded=True).update_query(
                mount=digest, **{"from": source})
            scope = f"{self._scope(named, _PUSH)} {scope_of(source, 'pull')}"
            try:
                async with self._request("POST", url, scope) as response:
                    if response.status == 201:
                        return True
                    place = response.headers.get("Location", "")
                if response.status == 202 and place:  # an upload was begun instead, and nobody goes on with it
                    async with self._request("DELETE", self._place(place), scope):
                        pass
            except (PierError, Retry):
                return False
        return False

    async def put_blob(self, named: Reference, digest: Digest, size: int, pieces: Pieces) -> None:
        """Upload a blob of ``size`` bytes; ``pieces`` gives them, at each attempt anew."""

        async def attempt() -> None:
            scope = self._scope(named, _PUSH)
            async with self._request("POST", self._of(named, "blobs/uploads/"), scope) as response:
                await self._check_push(response, named)
                place = response.headers.get("Location", "")
                least = response.headers.get("OCI-Chunk-Min-Length", "")
            if not place:
                raise Unavailable(f"registry {self._host}: it names no place for an upload", reason="REGISTRY_REFUSED")
            target, data = self._place(place), None
            if self.chunk and size > self.chunk:
                chunk = max(self.chunk, int(least) if least.isdecimal() and len(least) < 12 else 0)
                target = await _Chunks(self, named, target, size, chunk, pieces).send()
            else:
                data = pieces(0, size)
            async with self._request("PUT", target.update_query(digest=digest), scope, data=data, headers={
                "Content-Type": "application/octet-stream", "Content-Length": str(size if data is not None else 0),
            }) as response:
                if response.status == _TOO_LARGE and data is not None and size > _CHUNK:
                    self.chunk = _CHUNK
                    raise Retry(ResourceExhausted(f"registry {self._host}: it takes no {size} bytes at once",
                                                  reason="TOO_LARGE"))
                await self._check_push(response, named)

        await self._persist(attempt, lambda: None)

    async def put_manifest(self, named: Reference, raw: bytes, media_type: str) -> None:
        """Upload a manifest under the tag of ``named``. All that it names is there."""

        async def attempt() -> None:
            path, headers = self._of(named, f"manifests/{named.tag}"), {"Content-Type": media_type}
            async with self._request("PUT", path, self._scope(named, _PUSH), data=raw, headers=headers) as response:
                await self._check_push(response, named)

        await self._persist(attempt, lambda: None)

    def _place(self, location: str) -> yarl.URL:
        return yarl.URL(self._base).join(yarl.URL(location, encoded=True))

    async def _check_push(self, response: aiohttp.ClientResponse, named: Reference) -> None:
        if response.status < 300:
            return
        error = await self._failure(response, named)
        if isinstance(error, Unauthenticated | NotFound) and response.status in (401, 403):
            error.message = f"push access denied for {named.familiar_name}: {error.message.rpartition(': ')[2]}"
        raise error


class _Chunks:
    """One upload in chunks. What breaks is gone on with from where the registry says that it is."""

    def __init__(
        self, client: Uploader, named: Reference, place: yarl.URL, size: int, chunk: int, pieces: Pieces
    ) -> None:
        self._client = client
        self._named = named
        self._at = place
        self._size = size
        self._chunk = chunk
        self._pieces = pieces
        self._scope = client._scope(named, _PUSH)

    async def send(self) -> yarl.URL:
        """Where the upload is to be ended."""
        offset = broken = 0
        while offset < self._size:
            try:
                offset = await self._send(offset)
                broken = 0
            except Retry:
                broken += 1
                if broken >= _AGAIN:
                    raise
                offset = await self._client._persist(self._status, lambda: None)
        return self._at

    async def _send(self, offset: int) -> int:
        length = min(self._chunk, self._size - offset)
        headers = {
            "Content-Type": "application/octet-stream", "Content-Length": str(length),
            "Content-Range": f"{offset}-{offset + length - 1}"}
        data = self._pieces(offset, length)
        async with self._client._request("PATCH", self._at, self._scope, data=data, headers=headers) as response:
            if response.status == 416:
                raise Retry(Unavailable(f"registry {self._client._host}: it is elsewhere in the upload",
                                        reason="TRANSFER_BROKEN"))
            await self._client._check_push(response, self._named)
            return self._told(response, offset + length)

    async def _status(self) -> int:
        async with self._client._request("GET", self._at, self._scope) as response:
            await self._client._check_push(response, self._named)
            return self._told(response, 0)

    def _told(self, response: aiohttp.ClientResponse, otherwise: int) -> int:
        if place := response.headers.get("Location", ""):
            self._at = self._client._place(place)
        found = re.fullmatch(r"(?:bytes=)?0-(\d{1,15})", response.headers.get("Range", ""))
        if found is None:
            return otherwise
        end = int(found[1])
        return min(end + 1 if end else 0, self._size)
