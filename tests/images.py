"""Image material of tests: images of few and many layers, with whiteouts, in every form that a client may send."""

from __future__ import annotations

import functools
import gzip
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from deploy.busybox_image import (
    OCI_INDEX,
    OCI_LAYER,
    Blob,
    Entry,
    Image,
    busybox_image,
    directory,
    dump,
    hard_link,
    layer,
    symlink,
)

SCHEMA2_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
SCHEMA2_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
SCHEMA2_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
SCHEMA2_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def whiteout(path: str) -> Entry:
    """What removes ``path`` of the layers below (OCI image specification, "Whiteouts")."""
    parent, _, name = path.rpartition("/")
    return Entry(f"{parent}/.wh.{name}" if parent else f".wh.{name}", mode=0o600)


def opaque(path: str) -> Entry:
    """What removes everything of the layers below from the directory ``path``."""
    return Entry(f"{path}/.wh..wh..opq", mode=0o600)


@functools.cache
def busybox() -> Image:
    """One layer with busybox as every command."""
    return busybox_image()


@functools.cache
def layered() -> Image:
    """Four layers over busybox's rootfs. What is right when they are put together, and nothing else below /data::

        /data/kept        "first"              untouched since the first
        /data/changed     "third"              replaced by the third
        /data/opaque/new  "third"              all that was in the directory before is gone
        /data/back        "fourth"             whited out by the third, made again by the fourth
        /data/linked      hard link of /data/kept, made in the first
        /data/link        symbolic link to kept
    """
    first = layer([
        directory("data"), Entry("data/kept", data=b"first"), Entry("data/changed", data=b"first"),
        Entry("data/removed", data=b"first"), Entry("data/back", data=b"first"),
        hard_link("data/linked", "data/kept"), symlink("data/link", "kept"),
        directory("data/opaque"), Entry("data/opaque/old", data=b"first"),
        directory("data/gone"), Entry("data/gone/inside", data=b"first"),
    ])
    third = layer([
        Entry("data/changed", data=b"third"), whiteout("data/removed"), whiteout("data/back"), whiteout("data/gone"),
        directory("data/opaque"), opaque("data/opaque"), Entry("data/opaque/new", data=b"third"),
    ])
    fourth = layer([Entry("data/back", data=b"fourth")])
    return Image([*busybox().layers, first, third, fourth], config={"Cmd": ["sh"], "Env": ["LAYERED=yes"]})


def read_layer(tar: bytes) -> dict[str, bytes]:
    """Path → contents of the regular files of a (gzip or plain) tar that a test made or got from the engine."""
    files = {}
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:*") as archive:
        for info in archive:
            member = archive.extractfile(info)
            if member is not None:
                files[info.name.removeprefix("./")] = member.read()
    return files


@dataclass(frozen=True)
class Packed:
    """An image as a registry holds it: ``top`` is what a tag points at, the rest is uploaded before it.

    ``manifests`` are those that an index names, empty where ``top`` is itself a manifest.
    """

    blobs: tuple[Blob, ...]
    manifests: tuple[Blob, ...]
    top: Blob


def pack(image: Image, schema2: bool = False, compressed: bool = True) -> Packed:
    """An OCI or Docker schema 2 manifest; layers are gzip where ``compressed`` (schema 2 knows nothing else)."""
    if not schema2:
        config, layers, manifest = image.blobs(compressed)
        return Packed((config, *layers), (), manifest)
    config = Blob(SCHEMA2_CONFIG, image.configuration)
    layers = [Blob(SCHEMA2_LAYER, gzip.compress(tar, 6, mtime=0)) for tar in image.layers]
    manifest = Blob(SCHEMA2_MANIFEST, dump({
        "schemaVersion": 2,
        "mediaType": SCHEMA2_MANIFEST,
        "config": config.descriptor,
        "layers": [blob.descriptor for blob in layers],
    }))
    return Packed((config, *layers), (), manifest)


def pack_index(images: Iterable[Image], schema2: bool = False) -> Packed:
    """An index (schema 2: manifest list) over one image for each architecture."""
    blobs: dict[bytes, Blob] = {}
    manifests, entries = [], []
    for image in images:
        packed = pack(image, schema2)
        blobs |= {blob.data: blob for blob in packed.blobs}
        manifests.append(packed.top)
        entries.append({**packed.top.descriptor, "platform": {"architecture": image.architecture, "os": "linux"}})
    media_type = SCHEMA2_LIST if schema2 else OCI_INDEX
    top = Blob(media_type, dump({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}))
    return Packed(tuple(blobs.values()), tuple(manifests), top)


__all__ = [
    "OCI_LAYER", "Blob", "Entry", "Image", "Packed", "busybox", "directory", "hard_link", "layer", "layered", "opaque",
    "pack", "pack_index", "read_layer", "symlink", "whiteout",
]
