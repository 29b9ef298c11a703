"""Commit: an image of a snapshot, its parent's layers and one of what it has changed."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import msgspec
from isal import isal_zlib

from chassis.errors import Conflict, NotFound
from chassis.ids import key as check_key
from chassis.ids import namespace as check_namespace
from imaged import catalog, differences, images, manifest, one_layer, platform, reference
from imaged.catalog import ImageLayer, ImageRow
from imaged.one_layer import NewImage
from imaged.state import State
from pier.image.v1 import image_pb2 as pb

_KEPT: Final = ("architecture", "os", "variant", "os.version")
GZIP: Final = 31
"""zlib's window of 15 bits, in gzip's frame; no time and no name stand in it: the same tar gives the same blob."""


async def commit(state: State, request: pb.CommitRequest) -> pb.Image:
    """Make the image. NotFound (NO_SNAPSHOT); Conflict (NO_PARENT) where the image below it is gone."""
    key, namespace = check_key(request.snapshot, "snapshot"), check_namespace(request.namespace)
    named = reference.parse(request.reference).with_default_tag() if request.reference else None
    one_layer.check_config(request.config)
    parent = await state.store.read(lambda connection: _parent(connection, key))
    document: dict[str, Any] = {}
    below: list[ImageLayer] = []
    if parent is not None:
        raw = await state.files.run(state.blobs.read, parent.id, manifest.CONFIG_MAX)
        document, below = msgspec.json.decode(raw), parent.body.layers
    history = document.get("history") or []
    kept: dict[str, Any] = {name: document[name] for name in _KEPT if name in document}
    if not kept:
        kept = {"architecture": platform.host().architecture, "os": platform.host().os}
    said = {"created_by": request.created_by, "author": request.author, "comment": request.message}
    if request.author:
        kept["author"] = request.author
    new = NewImage(
        "commit", "create", namespace, named, kept, request.config, below,
        history if isinstance(history, list) else [], {name: text for name, text in said.items() if text},
    )
    async with aclosing(differences.layer(state, key, request.mount_points)) as tar:
        return await one_layer.make(state, new, _compressed(state, tar))


def _parent(connection: sqlite3.Connection, key: str) -> ImageRow | None:
    """The image that the snapshot was made of; None for one of nothing."""
    row = catalog.snapshot(connection, key)
    if row is None:
        raise NotFound(f"no such snapshot: {key}", reason="NO_SNAPSHOT", field="snapshot")
    kind, _, name = row.asked.partition(":")
    if not row.parent and kind != "image":
        return None
    try:
        image, _ = images.resolve(connection, row.namespace, name if kind == "image" else "")
    except NotFound as error:
        raise Conflict("the image that the container was made of is gone, and with it its history", reason="NO_PARENT",
                       field="snapshot") from error
    return image


async def _compressed(state: State, tar: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    packer = isal_zlib.compressobj(isal_zlib.ISAL_DEFAULT_COMPRESSION, isal_zlib.DEFLATED, GZIP)
    async for part in tar:
        if packed := await state.files.run(packer.compress, part):
            yield packed
    yield await state.files.run(packer.flush)
