"""Save: images as one tar that is both an OCI image layout and a docker-archive (OCI image-spec, image-layout.md).

Blobs go out as they came in, the manifest byte for byte: what is loaded from the archive has the digest that it had.
The same images give the same bytes.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from chassis.errors import InvalidArgument
from chassis.ids import Digest
from chassis.ids import namespace as check_namespace
from chassis.stages import stage
from chassis.tar import END, Entry, Kind, Writer
from imaged import catalog, images, manifest, reference
from imaged.blobs import BlobStore
from imaged.catalog import ImageRow
from imaged.reference import Reference
from imaged.state import State
from imaged.unbroken import unbroken
from pier.image.v1 import image_pb2 as pb

_PIECE: Final = 512 << 10
_IMAGES: Final = 1000
_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass
class _Saved:
    """An image and the names that it goes out with."""

    row: ImageRow
    names: list[Reference] = field(default_factory=list)

    def blobs(self) -> list[Digest]:
        return [self.row.body.manifest, self.row.id, *(layer.blob for layer in self.row.body.layers)]


async def save(state: State, request: pb.SaveRequest) -> AsyncIterator[bytes]:
    """The archive in pieces. NotFound for an image that is not here, before the first piece."""
    namespace = check_namespace(request.namespace)
    if not 0 < len(request.images) <= _IMAGES:
        raise InvalidArgument("save: it takes one image or more", reason="BAD_FIELD", field="images",
                              expected=f"1 to {_IMAGES} images")
    found = await state.store.read(lambda connection: _resolve(connection, namespace, list(request.images)))
    blobs = list(dict.fromkeys(blob for saved in found for blob in saved.blobs()))
    async with state.gate.pinned(blobs), stage("save", images=len(found), blobs=len(blobs)):
        sizes = await state.files.run(_sizes, state.blobs, blobs)
        with closing(_archive(state.blobs, found, sizes)) as pieces:
            while (piece := await unbroken(state.files.run(next, pieces, None))) is not None:
                yield piece

    def tell(connection: sqlite3.Connection) -> None:
        for saved in found:
            images.event(state, connection, namespace, "save", saved.row.id, saved.row.id)

    await state.store.write("save.event", tell)


def _resolve(connection: sqlite3.Connection, namespace: str, wanted: list[str]) -> list[_Saved]:
    found: dict[Digest, _Saved] = {}
    for text in wanted:
        refs = catalog.refs_in(connection, namespace, _repository(text))
        if not refs:
            row, ref = images.resolve(connection, namespace, text)
            found.setdefault(row.id, _Saved(row))
            refs = [ref] if ref is not None else []
        for each in refs:
            row, _ = images.resolve(connection, namespace, each.image_id)
            saved = found.setdefault(row.id, _Saved(row))
            name = reference.parse_canonical(each.reference)
            if name.tag and name not in saved.names:
                saved.names.append(name)
    return list(found.values())


def _repository(text: str) -> str:
    """The repository that ``text`` names all tags of; "" where it has a tag or digest, or is an id."""
    if text.startswith("sha256:"):
        return ""
    named = reference.parse(text, "images")
    return "" if named.tag or named.digest else named.repository


def _sizes(blobs: BlobStore, wanted: list[Digest]) -> dict[Digest, int]:
    missing = next((digest for digest in wanted if not blobs.has(digest)), None)
    if missing is not None:
        raise images.lost(missing, "a part of what is to be saved")
    return {digest: blobs.size(digest) for digest in wanted}


def _archive(blobs: BlobStore, found: list[_Saved], sizes: dict[Digest, int]) -> Generator[bytes, None, None]:
    for directory in (b"blobs", b"blobs/sha256"):
        yield from Writer.pieces(Entry(directory, Kind.DIRECTORY, mode=0o755))
    for digest in sorted(sizes):
        yield from Writer.pieces(Entry(_path(digest).encode(), size=sizes[digest]), _content(blobs, digest))
    for name, document in (
        (b"index.json", msgspec.json.encode(_index(found, sizes))),
        (b"manifest.json", msgspec.json.encode([_docker(saved) for saved in found])), (b"oci-layout", _LAYOUT),
    ):
        yield from Writer.pieces(Entry(name, size=len(document)), [document])
    yield END


def _content(blobs: BlobStore, digest: Digest) -> Generator[bytes, None, None]:
    fd = blobs.open(digest)
    try:
        while piece := os.read(fd, _PIECE):
            yield piece
    finally:
        os.close(fd)


def _index(found: list[_Saved], sizes: dict[Digest, int]) -> dict[str, Any]:
    manifests = []
    for saved in found:
        body = saved.row.body
        entry = {"mediaType": body.manifest_type, "digest": body.manifest, "size": sizes[body.manifest]}
        manifests += [
            {**entry, "annotations": {"io.containerd.image.name": name.canonical,
                                      "org.opencontainers.image.ref.name": name.tag}} for name in saved.names
        ] or [entry]
    return {"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": manifests}


def _docker(saved: _Saved) -> dict[str, Any]:
    """An image of manifest.json."""
    return {
        "Config": _path(saved.row.id), "RepoTags": [name.familiar for name in saved.names] or None,
        "Layers": [_path(layer.blob) for layer in saved.row.body.layers],
    }


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
