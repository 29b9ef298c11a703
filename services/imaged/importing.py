"""Import: an image of one layer from a tar of a root file system."""

from __future__ import annotations

from collections.abc import AsyncIterator

from chassis.ids import namespace as check_namespace
from imaged import images, one_layer, platform, reference
from imaged.one_layer import NewImage
from imaged.state import State
from pier.image.v1 import image_pb2 as pb


async def import_image(state: State, options: pb.ImportOptions, data: AsyncIterator[bytes]) -> pb.Image:
    """Make an image of the tar (plain, gzip or zstd) in ``data``."""
    named = reference.parse(options.reference, "options.reference") if options.reference else None
    wanted = images.check_platform(options.platform) if options.HasField("platform") else platform.host()
    document = {"architecture": wanted.architecture, "os": wanted.os}
    if wanted.variant:
        document["variant"] = wanted.variant
    new = NewImage(
        "import", "import", check_namespace(options.namespace, "options.namespace"),
        named and named.with_default_tag(), document, options.config, said={"comment": options.message},
    )
    return await one_layer.make(state, new, data)
