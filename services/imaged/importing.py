"""Import: an image of one layer from a tar of a root file system."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

from chassis.compression import NOT_LAYERS, Caps, Decompressor
from chassis.errors import PierError
from chassis.ids import namespace as check_namespace
from imaged import images, one_layer, platform, reference
from imaged.bridge import Incoming, pass_over
from imaged.one_layer import NewImage
from imaged.state import State
from imaged.unbroken import unbroken
from pier.image.v1 import image_pb2 as pb

_HEAD: Final = 6
"""Bytes that tell how a stream is compressed."""


async def import_image(state: State, options: pb.ImportOptions, data: AsyncIterator[bytes]) -> pb.Image:
    """Make an image of the tar in ``data``. One that is bzip2 or xz becomes a plain layer: there are none such."""
    named = reference.parse(options.reference, "options.reference") if options.reference else None
    wanted = images.check_platform(options.platform) if options.HasField("platform") else platform.host()
    document = {"architecture": wanted.architecture, "os": wanted.os}
    if wanted.variant:
        document["variant"] = wanted.variant
    new = NewImage(
        "import", "import", check_namespace(options.namespace, "options.namespace"),
        named and named.with_default_tag(), document, options.config, said={"comment": options.message},
    )
    try:
        async with aclosing(_as_layer(state, data)) as parts:
            return await one_layer.make(state, new, parts)
    except PierError:
        await pass_over(data)
        raise


async def _as_layer(state: State, data: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    head = b""
    async for part in data:
        head += part
        if len(head) >= _HEAD:
            break
    whole = _behind(head, data)
    if not head.startswith(NOT_LAYERS):
        async for part in whole:
            yield part
        return
    caps = Caps(state.settings.layer_max_bytes, state.settings.layer_max_ratio)
    async with aclosing(Incoming(whole)) as incoming:
        pieces = iter(Decompressor(incoming.chunks(), caps, every_kind=True, hashed=False))
        while (piece := await unbroken(state.streams.run(next, pieces, None))) is not None:
            yield piece


async def _behind(head: bytes, data: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    yield head
    async for part in data:
        yield part
