"""Base images: found at imaged or pulled, and made a ground that steps can stand on."""

from __future__ import annotations

import re
import time
from contextlib import aclosing
from typing import Final

from buildd import config, keys, records, snapshots
from buildd.build import Build, Image
from buildd.progress import StepProgress
from buildd.records import Inputs, Record
from buildd.snapshots import Ground
from buildd.steps import completed, look_up
from chassis.errors import NotFound
from chassis.stages import stage
from pier.image.v1 import image_pb2 as pb

IMAGE: Final = "docker-image://"
"""In front of the reference of an image that a further context is."""
_TRANSFER: Final = 86400.0
_HUB: Final = "docker.io"
_DOMAIN: Final = re.compile(r"(?:[^/]*[.:][^/]*|localhost)(?=/)")
_DOING: Final = {
    pb.LAYER_PHASE_DOWNLOADING: "downloading", pb.LAYER_PHASE_EXTRACTING: "extracting",
    pb.LAYER_PHASE_DONE: "done", pb.LAYER_PHASE_EXISTS: "exists",
}


async def base(build: Build, name: str, platform: pb.Platform, step: StepProgress | None) -> Image:
    """The image ``name`` as a stage begins with it. What it is pulled with is told to ``step``."""
    found = await image(build, name, platform, step)
    document = config.parse(found.config)
    return Image(await _ground(build, name, found), document, base_id=found.id)


async def image(build: Build, name: str, platform: pb.Platform, step: StepProgress | None) -> pb.Image:
    """The image, with its configuration, from its registry where it is not here or is asked for anew."""
    async with build.state.locks.hold(f"base:{build.namespace}:{name}"):
        found = await _find(build, name, platform)
        if found is None:
            async with stage("build.pull", image=name):
                found = await _pull(build, name, platform, step)
        return found


async def _find(build: Build, name: str, platform: pb.Platform) -> pb.Image | None:
    """None where it is not here, is for another platform, or is asked for anew."""
    if build.options.pull:
        return None
    image = build.here.pop(name, None)
    try:
        if image is None:
            answer: pb.GetImageResponse = await build.state.services.imaged.call(
                build.state.services.images.GetImage, pb.GetImageRequest(namespace=build.namespace, image=name))
            image = answer.image
    except NotFound:
        return None
    found = image.platform
    same = (found.os, found.architecture) == (platform.os, platform.architecture)
    return image if same and platform.variant in ("", found.variant) else None


async def _pull(build: Build, name: str, platform: pb.Platform, step: StepProgress | None) -> pb.Image:
    services = build.state.services
    request = pb.PullRequest(namespace=build.namespace, reference=name, platform=platform)
    auth = build.options.auth
    if (domain := domain_of(name)) in auth:
        request.auth.CopyFrom(auth[domain])
    pulled = pb.Image()
    async with aclosing(services.imaged.stream(services.images.Pull, request, _TRANSFER)) as events:
        async for event in events:
            if event.WhichOneof("event") == "end":
                pulled = event.end.image
            elif event.WhichOneof("event") == "layer" and step is not None and event.layer.phase in _DOING:
                subject = f"{_DOING[event.layer.phase]} {event.layer.digest}"
                await step.transfer(subject, event.layer.current, event.layer.total)
    answer: pb.GetImageResponse = await services.imaged.call(
        services.images.GetImage, pb.GetImageRequest(namespace=build.namespace, image=pulled.id))
    return answer.image


def domain_of(name: str) -> str:
    """Host and port of the registry of a reference."""
    match = _DOMAIN.match(name)
    return match[0] if match else _HUB


async def _ground(build: Build, name: str, image: pb.Image) -> Ground:
    """The image's layers as a committed snapshot. Its key covers the image's whole configuration (CVE-2024-24557)."""
    inputs = Inputs(ground="", instruction="FROM", settings={"image": image.id})
    key = keys.key_of(inputs)
    state = build.state
    build.hold([key])
    if not image.layers:
        return Ground(key)
    async with state.locks.hold(key):
        found = await look_up(state, key)
        if found is None:
            record = Record(
                key=key, type=records.REGULAR, parent="", place=build.place(f"FROM {name}", 0), snapshot=key,
                inputs=inputs, created_ns=time.time_ns(),
            )
            async with snapshots.writable(state, build.namespace, Ground(key), image=image.id) as prepared:
                made = await snapshots.commit(state, prepared, key)
            found = completed(record, made)
            await state.store.write("build.record", lambda connection: records.put(connection, found))
    return Ground(key, found.snapshot, found.chain_id)
