"""Images that a client names as a cache (`cache_from`): what their layers offer to a build on another machine.

An image offers the layer of its next step to a stage that has come to the same: the same layers, and word for word
the same history, in which the environment, the user and everything else that a command sees has been said. Steps whose
words do not say all that they are made of (mounts, modes, patterns) are never taken from there. The client trusts such
an image: whoever made it decides what its layers hold.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from buildd import bases, config, snapshots
from buildd.build import Build, CacheImage
from buildd.config import Step
from buildd.dockerfile import instructions as df
from buildd.snapshots import Ground
from buildd.steps import Work, Worked
from chassis.errors import PierError
from chassis.logs import logger
from pier.image.v1 import image_pb2 as pb


@dataclass(frozen=True)
class Offer:
    """A layer: ``chain_id`` with it on top; made at ``created_ns``, 0 where that is not known. ``layer`` is "" where
    the step changed no file."""

    chain_id: str
    layer: str
    created_ns: int


async def images(build: Build) -> list[CacheImage]:
    """Those that are here or at their registry. One that is nowhere offers nothing, as with Docker."""
    found = []
    for name in build.options.cache_from:
        try:
            image = await bases.image(build, name, build.platform, None)
        except PierError as error:
            logger().info("no cache", image=name, reason=error.reason)
            continue
        history = config.parse(image.config).history or []
        found.append(CacheImage(tuple(layer.chain_id for layer in image.layers), tuple(history)))
    return found


def is_whole(step: df.Instruction) -> bool:
    """Whether a step's words in the history say all that it is made of."""
    if isinstance(step, df.Run):
        return not (step.mounts or step.heredocs)
    if isinstance(step, df.Copy):
        return not (step.chmod or step.exclude or step.link or step.parents or step.heredocs)
    return isinstance(step, df.Workdir)


def offer(known: Sequence[CacheImage], ground: Ground, before: Sequence[Step], created_by: str) -> Offer | None:
    """What one of the images has for the step ``created_by`` behind the history ``before``."""
    for image in known:
        place = len(before)
        if len(image.history) <= place or image.history[place].created_by != created_by:
            continue
        if [step.created_by for step in image.history[:place]] != [step.created_by for step in before]:
            continue
        below = sum(not step.empty_layer for step in image.history[:place])
        if below > len(image.chains) or (image.chains[below - 1] if below else "") != ground.chain_id:
            continue
        step = image.history[place]
        if step.empty_layer:
            return Offer(ground.chain_id, "", _nanoseconds(step.created or ""))
        if below < len(image.chains):
            return Offer(image.chains[below], image.chains[below], _nanoseconds(step.created or ""))
    return None


def taken(build: Build, found: Offer) -> Work:
    """The step's work where it is taken over: a snapshot over the layer that is offered."""

    @asynccontextmanager
    async def work(key: str) -> AsyncIterator[Worked]:
        request = pb.PrepareSnapshotRequest(key=key, owner=snapshots.owner(build.state, build.namespace, key))
        if found.chain_id:
            request.chain_id = found.chain_id
        try:
            await build.state.services.imaged.call(build.state.services.snapshots.PrepareSnapshot, request)
            yield Worked(layer=found.layer, created_ns=found.created_ns)
        finally:
            build.state.see_to(f"drop:{key}", lambda: snapshots.drop(build.state, key))

    return work


def _nanoseconds(text: str) -> int:
    try:
        when = datetime.fromisoformat(text)
        return int(when.timestamp() * 10**9) if when.tzinfo is not None else 0
    except (ValueError, OverflowError):
        return 0
