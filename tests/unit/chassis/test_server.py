"""The gRPC server's border: what a caller is told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chassis.client import Peer
from chassis.errors import InvalidArgument
from chassis.server import EXPERIMENTS, Server
from pier.image.v1 import image_pb2, image_pb2_grpc


class Refusing(image_pb2_grpc.ContentServiceServicer):
    """Reads the head of an upload and refuses it."""

    async def WriteBlob(
        self, requests: AsyncIterator[image_pb2.WriteBlobRequest], context: object
    ) -> image_pb2.WriteBlobResponse:
        await anext(aiter(requests))
        raise InvalidArgument("offset: not this one", reason="BAD_OFFSET", field="offset")


async def parts(count: int) -> AsyncIterator[image_pb2.WriteBlobRequest]:
    for _ in range(count):
        yield image_pb2.WriteBlobRequest(data=bytes(100_000))


async def test_an_upload_refused_at_its_head_is_told_why_although_it_is_still_being_sent(tmp_path: Path) -> None:
    server = Server()
    server.add(
        image_pb2_grpc.add_ContentServiceServicer_to_server, Refusing(), "pier.image.v1.ContentService"  # type: ignore[abstract]
    )
    await server.start(tmp_path / "socket")
    peer = Peer("imaged", tmp_path / "socket")
    stub = image_pb2_grpc.ContentServiceStub(peer.channel)
    try:
        for count in (1, 2, 3, 5, 10, 20, 50) * 20:
            with pytest.raises(InvalidArgument, match="not this one"):
                await peer.call(stub.WriteBlob, parts(count))
    finally:
        await peer.close()
        await server.stop(0)


@pytest.mark.parametrize(("experiments", "unknown"), [(EXPERIMENTS, False), ("-no_such_experiment", True)])
def test_the_pinned_grpc_knows_the_poller_that_is_asked_for(experiments: str, unknown: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import grpc; grpc.insecure_channel('unix:/nowhere').close()"],
        env={**os.environ, "GRPC_EXPERIMENTS": experiments}, capture_output=True, text=True, check=True, timeout=60)
    assert ("Unknown experiment" in done.stderr) is unknown
