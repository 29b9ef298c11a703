"""One node: its images are prewarmed, its events followed, over a channel that outlives the node's restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from examples.agent.config import Node
from examples.agent.report import Report
from pier.image.v1 import image_pb2, image_pb2_grpc
from pier.types.v1 import types_pb2
from pier_client import PierError, Tls
from pier_client.channels import aio_channel
from pier_client.errors import told

_NAMESPACE = "docker"
_PAUSE = 0.5


async def attend(node: Node, images: Iterable[str], tls: Tls, report: Report, turn: asyncio.Lock) -> None:
    """For ever. ``turn`` is held by who writes the report."""
    async with aio_channel(node.address, tls) as channel:
        stub = image_pb2_grpc.ImageServiceStub(channel)
        async with asyncio.TaskGroup() as group:
            group.create_task(_prewarm(node, images, stub, report, turn))
            group.create_task(_follow(node, stub, report, turn))


async def _prewarm(
    node: Node, images: Iterable[str], stub: image_pb2_grpc.ImageServiceAsyncStub, report: Report, turn: asyncio.Lock
) -> None:
    """Pull each image once; what is there is not fetched again. A node that does not answer is asked again."""
    for image in images:
        while True:
            request = image_pb2.PullRequest(namespace=_NAMESPACE, reference=image)
            try:
                with told():
                    answers = [each async for each in stub.Pull(request)]
            except PierError as error:
                if error.is_temporary:
                    await asyncio.sleep(_PAUSE)
                    continue
                async with turn:
                    await asyncio.to_thread(report.failed, node.name, image, error.reason)
                break
            async with turn:
                await asyncio.to_thread(report.prewarmed, node.name, image, answers[-1].end.digest)
            break


async def _follow(
    node: Node, stub: image_pb2_grpc.ImageServiceAsyncStub, report: Report, turn: asyncio.Lock
) -> None:
    """Every event once, in the node's order. The first time all that the node still keeps is reported."""
    while True:
        selector = types_pb2.EventSelector(after=report.seen(node.name))
        if not selector.HasField("after"):
            selector.since.CopyFrom(Timestamp())
        try:
            with told():
                async for answer in stub.Events(image_pb2.EventsRequest(selector=selector)):
                    async with turn:
                        await asyncio.to_thread(report.event, node.name, answer.event)
        except PierError as error:
            if error.reason == "EVENTS_GAP":
                async with turn:
                    await asyncio.to_thread(report.gap, node.name)
            elif not error.is_temporary:
                raise
        await asyncio.sleep(_PAUSE)
