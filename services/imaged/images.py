"""Images as their callers see them: resolved, listed, tagged, recorded."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import msgspec

from chassis.errors import Aborted, DataLoss, InvalidArgument, NotFound
from chassis.ids import Digest
from chassis.ids import namespace as check_namespace
from imaged import archive, catalog, manifest, reference
from imaged import platform as platforms
from imaged.catalog import Body, ImageLayer, ImageRow, Ref
from imaged.reference import Reference
from imaged.state import State
from pier.image.v1 import image_pb2 as pb
from pier.types.v1 import types_pb2

_HEX: Final = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})")


def resolve(connection: sqlite3.Connection, namespace: str, text: str) -> tuple[ImageRow, Ref | None]:
    """The image that ``text`` means, and the reference where it was one. References go before ids.

    NotFound in Docker's words where there is none.
    """
    named = _parse(text)
    if named is not None:
        found = catalog.ref(connection, namespace, named.canonical) or _by_target(connection, namespace, named)
        if found is not None:
            row = catalog.image(connection, namespace, found.image_id)
            assert row is not None, "refs refer to images"
            return row, found
    if match := _HEX.fullmatch(text):
        id_ = catalog.by_prefix(connection, namespace, match[1])
        if id_ is not None:
            row = catalog.image(connection, namespace, id_)
            assert row is not None
            return row, None
    shown = named.familiar if named is not None else text
    raise NotFound(f"No such image: {shown}", reason="NO_IMAGE", field="image")


def _parse(text: str) -> Reference | None:
    """None for what can only be an id; InvalidArgument for what is neither."""
    if text.startswith("sha256:") or re.fullmatch(r"[0-9a-f]{64}", text):
        if not _HEX.fullmatch(text):
            raise InvalidArgument(f"image: {text[:80]!a} is not an image id", reason="BAD_ID", field="image")
        return None
    return reference.parse(text, "image").with_default_tag()


def _by_target(connection: sqlite3.Connection, namespace: str, named: Reference) -> Ref | None:
    """``name:tag@digest`` means ``name@digest``."""
    if named.tag and named.digest:
        return catalog.ref(connection, namespace, replace(named, tag=None).canonical)
    return None


def record(
    state: State, connection: sqlite3.Connection, row: ImageRow, refs: Sequence[Ref], action: str, name: str
) -> None:
    """Write an image with its references, and the event. A reference that meant another image leaves that one.

    Aborted where a sweep was quicker than the caller's pins: nothing is recorded that is not whole.
    """
    layers = all(catalog.layer(connection, layer.chain_id) is not None for layer in row.body.layers)
    if not layers or not all(state.blobs.has(digest) for digest in (row.id, row.body.manifest)):
        raise Aborted("image: a part of it was swept while it was made; try again", reason="SWEPT")
    catalog.put_image(connection, row)
    for ref in refs:
        catalog.put_ref(connection, row.namespace, ref)
    event(state, connection, row.namespace, action, row.id, name)


def event(state: State, connection: sqlite3.Connection, namespace: str, action: str, image_id: str, name: str) -> None:
    """An image event with Docker's attribute ``name``."""
    owner = types_pb2.Owner(manager="imaged", namespace=namespace)
    state.events.append(connection, "image", action, image_id, owner, {"name": name} if name else {})


def row_of(
    namespace: str, config: manifest.ImageConfig, config_digest: Digest, descriptor: manifest.Descriptor,
    layers: Sequence[manifest.Descriptor], documents: Sequence[Digest],
) -> ImageRow:
    """An image's row. ``documents`` are the digests of manifest and index."""
    diff_ids = config.diff_ids
    chain = manifest.chain_ids(diff_ids)
    return ImageRow(
        check_namespace(namespace), config_digest,
        Body(
            descriptor.checked, descriptor.media_type, descriptor.size,
            [
                ImageLayer(diff_id, chain_id, layer.media_type, layer.checked, layer.size)
                for diff_id, chain_id, layer in zip(diff_ids, chain, layers, strict=True)
            ],
            list(documents),
        ),
        created_ns(config.created), time.time_ns(),
    )


async def with_blobs_here(state: State, row: ImageRow) -> ImageRow:
    """The image upon blobs that are all here. A layer that was there before the pull is not fetched again; where it
    came as a blob that was compressed otherwise, that one takes the place of what the registry names, under a manifest
    of our own: else the image could be run, and neither pushed nor saved."""
    if not await lost_layers(state, row):
        return row
    known = await state.store.read(lambda connection: [
        layer for image in catalog.all_images(connection) for layer in image.body.layers])

    def complete() -> tuple[list[ImageLayer], manifest.Descriptor] | None:
        here = {layer.diff_id: layer for layer in known if state.blobs.has(layer.blob)}
        layers = []
        for layer in row.body.layers:
            found = layer if state.blobs.has(layer.blob) else here.get(layer.diff_id)
            if found is None:
                return None
            layers.append(msgspec.structs.replace(found, chain_id=layer.chain_id))
        descriptors = [manifest.Descriptor(one.media_type, one.blob, one.blob_size) for one in layers]
        return layers, archive.write_manifest(state.blobs, row.id, descriptors)

    made = await state.files.run(complete)
    if made is None:
        return row
    layers, descriptor = made
    return replace(row, body=Body(descriptor.checked, descriptor.media_type, descriptor.size, layers,
                                  [*row.body.blobs, descriptor.checked]))


async def lost_layers(state: State, row: ImageRow) -> frozenset[Digest]:
    """The blobs of its layers that are not here."""
    wanted = {layer.blob for layer in row.body.layers}
    return frozenset(await state.files.run(lambda: [blob for blob in wanted if not state.blobs.has(blob)]))


def created_ns(text: str | None) -> int:
    """An RFC 3339 time in nanoseconds, 0 for none or one that is malformed: it is the image maker's word."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)", text or "", re.ASCII)
    if match is None:
        return 0
    try:
        seconds = int(datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00")).timestamp())
    except (ValueError, OverflowError):
        return 0
    return max(0, seconds * 10**9 + int((match[2] or "0").ljust(9, "0")))


async def message(state: State, row: ImageRow, *, with_config: bool = True) -> pb.Image:
    """The image as its message."""
    refs = await state.store.read(lambda connection: catalog.refs_of(connection, row.namespace, row.id))
    rows = await state.store.read(
        lambda connection: [catalog.layer(connection, layer.chain_id) for layer in row.body.layers]
    )
    try:
        raw = await state.files.run(state.blobs.read, row.id, manifest.CONFIG_MAX)
        config = manifest.parse_config(raw)
    except (NotFound, InvalidArgument) as error:
        # One image that is damaged takes the others out of no list.
        if with_config:
            raise lost(row.id, f"the configuration of image {row.id}") from error
        raw, config = b"", manifest.ImageConfig()
    tags = [ref.reference for ref in refs if not ref.is_digest]
    sizes = [layer.size if layer else 0 for layer in rows]
    image = pb.Image(
        id=row.id, namespace=row.namespace, references=tags,
        familiar=[reference.parse_canonical(tag).familiar for tag in tags],
        digests=[ref.reference for ref in refs if ref.is_digest],
        manifest=pb.Descriptor(
            media_type=row.body.manifest_type, digest=row.body.manifest, size=row.body.manifest_size),
        config=raw if with_config else b"", size=sum(sizes), pinned=row.pinned,
        platform=_platform(config), layers=await state.files.run(_layers, state, row, sizes),
        labels=(config.config.labels if config.config else None) or {},
    )
    if row.created_ns:
        image.created_at.FromNanoseconds(row.created_ns)
    image.tagged_at.FromNanoseconds(row.tagged_ns)
    return image


def _platform(config: manifest.ImageConfig) -> pb.Platform:
    platform = config.platform
    return pb.Platform(os=platform.os, architecture=platform.architecture, variant=platform.variant)


def _layers(state: State, row: ImageRow, sizes: list[int]) -> list[pb.Layer]:
    found = []
    for layer, size in zip(row.body.layers, sizes, strict=True):
        made = pb.Layer(diff_id=layer.diff_id, chain_id=layer.chain_id, size=size)
        if state.blobs.has(layer.blob):
            made.blob.CopyFrom(pb.Descriptor(media_type=layer.media_type, digest=layer.blob, size=layer.blob_size))
        found.append(made)
    return found


async def tag(state: State, namespace: str, image: str, text: str) -> pb.Image:
    """Give an image another reference, taken away from whichever had it."""
    namespace = check_namespace(namespace)
    named = reference.parse(text).with_default_tag()
    if named.digest:
        raise InvalidArgument(
            "refusing to create a tag with a digest reference", reason="BAD_REFERENCE", field="reference")

    def write(connection: sqlite3.Connection) -> ImageRow:
        row, _ = resolve(connection, namespace, image)
        row = replace(row, tagged_ns=time.time_ns())
        record(state, connection, row, [Ref(named.canonical, row.id, row.body.manifest)], "tag", named.familiar)
        return row

    return await message(state, await state.store.write("tag.record", write))


def lost(digest: Digest, what: str) -> DataLoss:
    """The error where ``what`` had to be here and is not."""
    return DataLoss(f"{what} is lost: the blob {digest} is not here; pull or load the image again, or see what "
                    "`pier system fsck --repair` can bring", reason="NO_BLOB")


def check_platform(platform: pb.Platform) -> platforms.Platform:
    """The platform that a request names."""
    for field in ("os", "architecture", "variant"):
        if not re.fullmatch(r"[a-zA-Z0-9_.-]{0,32}", getattr(platform, field)):
            raise InvalidArgument(f"platform.{field}: not a word", reason="BAD_PLATFORM", field=f"platform.{field}")
    return platforms.normal(platform.os or "linux", platform.architecture, platform.variant)


def digests_of(row: ImageRow) -> list[Digest]:
    """Every blob that belongs to the image."""
    return [row.id, row.body.manifest, *row.body.blobs, *(layer.blob for layer in row.body.layers)]

