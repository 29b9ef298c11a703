"""Pulling from whoever answers for a registry: its mirrors in their order, and itself last."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from chassis.errors import DataLoss, InvalidArgument, NotFound, PierError
from chassis.ids import Digest
from chassis.logs import logger
from imaged import manifest
from imaged.blobs import Ingest
from imaged.reference import Reference
from imaged.registry import Document, RegistryClient

T = TypeVar("T")


class Sources:
    """``clients``, the registry itself the last. What one fails with another is asked for; the last one's error
    counts. What is not what its digest says is never asked for again elsewhere: a part of it is used already."""

    def __init__(self, clients: Sequence[RegistryClient]) -> None:
        self._clients = list(clients)

    async def close(self) -> None:
        for client in self._clients:
            await client.close()

    async def manifest(self, named: Reference, reference: str) -> Document:
        """The manifest or index ``reference`` (a tag or digest) of the repository of ``named``."""
        by_digest = reference.startswith("sha256:")
        able = [one for one in self._clients[:-1] if (one.endpoint.pulls if by_digest else one.endpoint.resolves)]

        async def ask(client: RegistryClient) -> Document:
            document = await client.manifest(named, reference)
            if client is not self._clients[-1]:
                manifest.parse(document.raw, document.media_type)  # a page that says hello is none
            return document

        return await self._first([*able, self._clients[-1]], ask)

    async def small_blob(self, named: Reference, digest: Digest, size: int) -> bytes:
        """A blob of ``size`` bytes that fits into memory, verified."""
        return await self._first(self._pulling(), lambda client: client.small_blob(named, digest, size))

    async def blob(
        self, named: Reference, digest: Digest, size: int, ingest: Ingest, write: Callable[[bytes], Awaitable[None]],
        there: Callable[[int], None], again: Callable[[], None],
    ) -> None:
        """As ``RegistryClient.blob``; another goes on where one broke off."""
        await self._first(
            self._pulling(), lambda client: client.blob(named, digest, size, ingest, write, there, again), (DataLoss,))

    async def tags(self, named: Reference) -> list[str]:
        """All tags of the repository, of the registry itself."""
        return await self._clients[-1].tags(named)

    def _pulling(self) -> list[RegistryClient]:
        return [*(one for one in self._clients[:-1] if one.endpoint.pulls), self._clients[-1]]

    async def _first(
        self, clients: Sequence[RegistryClient], ask: Callable[[RegistryClient], Awaitable[T]],
        final: tuple[type[PierError], ...] = (),
    ) -> T:
        for client in clients[:-1]:
            try:
                return await ask(client)
            except PierError as error:
                if isinstance(error, final):
                    raise
                level = logger().info if isinstance(error, NotFound | InvalidArgument) else logger().warning
                level("mirror: asking the next one", mirror=client.endpoint.host, error=error.message)
        return await ask(clients[-1])
