"""Images as they are here: list, inspect, history, tag, delete. How they come in is image_transfer's."""

from __future__ import annotations

from collections import Counter
from typing import Final

from aiohttp import web

from chassis.client import READ_TIMEOUT
from chassis.errors import PierError, Unimplemented
from coordinator.services import NAMESPACE
from gateway import listing
from gateway.rest import image_filters, image_json, names, platforms
from gateway.rest.call import Call
from gateway.rest.errors import bad
from gateway.rest.routes import Routes
from gateway.rest.versions import Version
from pier.image.v1 import image_pb2 as pb

routes: Final = Routes()

_WITH_COUNTS: Final = Version(1, 51)
_WITH_IDENTITIES: Final = Version(1, 54)


@routes.get("/images/json")
async def list_(call: Call) -> web.StreamResponse:
    """An image here is of one platform, so that ``manifests``, and an ``identity`` of each, have nothing to add."""
    wanted = call.filters(*image_filters.KNOWN)
    if call.version >= _WITH_IDENTITIES and call.query.boolean("identity") and not call.query.boolean("manifests"):
        raise bad("conflicting options: identity requires manifests=1", field="identity")
    before = [await listing.image(call.engine, name) for name in wanted.get("before")]
    since = [await listing.image(call.engine, name) for name in wanted.get("since")]
    everything = await listing.images(call.engine)
    shared = image_json.shared_sizes(everything) if call.query.boolean("shared-size") else {}
    counts = await _counts(call) if call.version >= _WITH_COUNTS else None
    return call.json([
        image_json.summary(
            one.image, one.tags, one.digests, call.version, shared=shared.get(one.image.id, image_json.NOT_COUNTED),
            containers=image_json.NOT_COUNTED if counts is None else counts[one.image.id],
        )
        for one in image_filters.select(everything, wanted, before, since)
    ])


@routes.get("/images/{name:.*}/json")
async def inspect(call: Call) -> web.StreamResponse:
    """An image here is of one platform: of a list of ``manifests`` Docker says nothing, either, where it keeps one."""
    if call.query.boolean("manifests") and call.query.text("platform"):
        raise bad("conflicting options: manifests and platform options cannot both be set", field="platform")
    image = await listing.image(call.engine, call.path["name"])
    platforms.check(call, image)
    return call.json(image_json.inspected(image, call.version))


@routes.get("/images/{name:.*}/history")
async def history(call: Call) -> web.StreamResponse:
    image = await listing.image(call.engine, call.path["name"])
    platforms.check(call, image)
    return call.json(image_json.history(image))


@routes.post("/images/{name:.*}/tag")
async def tag(call: Call) -> web.StreamResponse:
    services, repository = call.engine.services, call.query.text("repo")
    if "@" in repository:
        raise bad("refusing to create a tag with a digest reference", field="repo")
    await services.imaged.call(services.images.TagImage, pb.TagImageRequest(
        namespace=NAMESPACE, image=call.path["name"], reference=names.joined(repository, call.query.text("tag"))))
    return call.empty(201)


@routes.delete("/images/{name:.*}")
async def delete(call: Call) -> web.StreamResponse:
    services = call.engine.services
    if call.query.text("platforms"):
        raise Unimplemented("delete: one of several platforms is not supported yet", reason="NOT_BUILT",
                            field="platforms")
    answer: pb.RemoveImageResponse = await services.imaged.call(services.images.RemoveImage, pb.RemoveImageRequest(
        namespace=NAMESPACE, image=call.path["name"], force=call.query.boolean("force"),
        uses=await listing.uses(services)))
    return call.json(image_json.removed(answer.removed))


async def _counts(call: Call) -> Counter[str] | None:
    """Containers by image; None where execd does not answer: a list of images does not wait for it."""
    try:
        return Counter(use.image_id for use in await listing.uses(call.engine.services, READ_TIMEOUT))
    except PierError:
        return None
