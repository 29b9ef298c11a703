"""CreateImage: an image of the layers of a committed snapshot and a configuration that its caller wrote.

Nothing of this host or of this moment goes into the documents: the same request gives the same digests.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from chassis.errors import Conflict, InvalidArgument, PierError
from chassis.ids import key as check_key
from chassis.ids import namespace as check_namespace
from chassis.stages import stage
from imaged import archive, catalog, images, manifest, reference, snapshots
from imaged.catalog import ImageLayer, ImageRow, Ref
from imaged.reference import Reference
from imaged.state import State
from pier.image.v1 import image_pb2 as pb

_REFERENCES: Final = 100


async def create(state: State, request: pb.CreateImageRequest) -> pb.Image:
    """Make the image. InvalidArgument names the field of the configuration; NotFound (NO_SNAPSHOT), Conflict
    (NOT_COMMITTED, NO_BLOBS)."""
    namespace = check_namespace(request.namespace)
    named = _references(request.references)
    snapshot = check_key(request.snapshot, "snapshot") if request.snapshot else ""
    document = _document(request.config)

    async def work() -> pb.Image:
        layers: Sequence[ImageLayer] = ()
        if snapshot:
            layers = (await state.store.read(lambda connection: snapshots.committed(connection, snapshot))).layers
        raw = _config(document, layers)
        chain = [digest for layer in layers for digest in (layer.chain_id, layer.blob)]
        async with state.gate.pinned(chain):
            return await _create(state, namespace, named, raw, layers)

    fingerprint = request.SerializeToString(deterministic=True)
    key = f"create_image:{hashlib.sha256(fingerprint).hexdigest()}"
    return await state.operations.run(key, fingerprint, work)


def _references(texts: Sequence[str]) -> list[Reference]:
    if len(texts) > _REFERENCES:
        raise InvalidArgument(f"references: {len(texts)} are too many", reason="BAD_FIELD", field="references",
                              expected=f"{_REFERENCES} at most")
    named = []
    for text in texts:
        one = reference.parse(text, "references").with_default_tag()
        if one.digest:
            raise InvalidArgument("refusing to create a tag with a digest reference", reason="BAD_REFERENCE",
                                  field="references")
        named.append(one)
    return list(dict.fromkeys(named))


def _bad(message: str, field: str, expected: str = "") -> InvalidArgument:
    return InvalidArgument(f"{field}: {message}", reason="BAD_CONFIG", field=field, expected=expected)


def _document(raw: bytes) -> dict[str, Any]:
    """The image configuration without its layers, checked."""
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _bad(str(error), "config", "a JSON object") from error
    if not isinstance(document, dict):
        raise _bad("it is no object", "config", "an OCI image configuration")
    if "rootfs" in document:
        raise _bad("imaged fills it in", "config.rootfs", "no such member")
    for name in ("architecture", "os"):
        if not isinstance(document.get(name), str) or not document[name]:
            raise _bad("it is missing", f"config.{name}", "a word")
    try:
        manifest.parse_config(raw)
    except PierError as error:
        raise InvalidArgument(error.message, reason="BAD_CONFIG", field="config") from error
    return document


def _config(document: dict[str, Any], layers: Sequence[ImageLayer]) -> bytes:
    """The configuration's bytes. InvalidArgument where its history names another number of layers."""
    history = document.get("history")
    if history:
        named = sum(1 for entry in history if not entry.get("empty_layer"))
        if named != len(layers):
            raise _bad(f"it names {named} layers, there are {len(layers)}", "config.history", f"{len(layers)} layers")
    return msgspec.json.encode(
        {**document, "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}})


async def _create(
    state: State, namespace: str, named: list[Reference], raw: bytes, layers: Sequence[ImageLayer]
) -> pb.Image:
    descriptors = [manifest.Descriptor(layer.media_type, layer.blob, layer.blob_size) for layer in layers]
    for layer in layers:
        if not await state.files.run(state.blobs.has, layer.blob):
            raise Conflict(f"snapshot: the blob {layer.blob} of its layer {layer.diff_id} is not here: pull its image "
                           "again", reason="NO_BLOBS", field="snapshot")
    async with stage("create_image.documents"):
        config = await state.files.run(state.blobs.put, raw)
        descriptor = await state.files.run(archive.write_manifest, state.blobs, config, descriptors)
    row = images.row_of(
        namespace, manifest.parse_config(raw, len(layers)), config, descriptor, descriptors, [descriptor.checked])
    async with state.gate.pinned([config, descriptor.checked]):
        row = await state.store.write("create_image.record", lambda connection: _write(state, connection, row, named))
    return await images.message(state, row)


def _write(state: State, connection: sqlite3.Connection, row: ImageRow, named: list[Reference]) -> ImageRow:
    """Docker's events: one for the image, where it is new, and one for each reference that did not mean it before. An
    image that is there and whole keeps its manifest."""
    there = catalog.image(connection, row.namespace, row.id)
    if there is None or not all(state.blobs.has(digest) for digest in images.digests_of(there)):
        images.record(state, connection, row, [], "create", row.id)
    else:
        row = there
    for one in named:
        before = catalog.ref(connection, row.namespace, one.canonical)
        if before is None or before.image_id != row.id:
            ref = Ref(one.canonical, row.id, row.body.manifest)
            images.record(state, connection, row, [ref], "tag", one.familiar)
    return row
