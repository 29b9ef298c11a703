"""Images of a committed snapshot and a configuration."""

from __future__ import annotations

import pytest

from chassis.errors import InvalidArgument
from deploy.busybox_image import dump
from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from pier.types.v1 import types_pb2
from tests.service.imaged.served import Served

CONFIG = {"architecture": "amd64", "os": "linux"}


BAD_CONFIGS = [
    (b"", "config"), (b"[]", "config"), (b"{", "config"), (dump({"os": "linux"}), "config.architecture"),
    (dump({"architecture": "amd64", "os": 3}), "config.os"),
    (dump({**CONFIG, "rootfs": {"type": "layers", "diff_ids": []}}), "config.rootfs"),
    (dump({**CONFIG, "history": [{"created_by": "x"}]}), "config.history"),
    (dump({**CONFIG, "history": [{"empty_layer": True}, 3]}), "config"),
    (dump({**CONFIG, "config": {"Env": "x"}}), "config"),
]


async def test_an_image_of_a_bad_configuration_is_refused_with_its_field(snapshots: Served) -> None:
    for config, field in BAD_CONFIGS:
        request = pb.CreateImageRequest(namespace="docker", config=config)
        with pytest.raises(InvalidArgument) as refused:
            await snapshots.call(rpc.ImageServiceStub, "CreateImage", request)
        assert refused.value.field == field, config
    assert snapshots.directories()["blobs/sha256"] == []


async def test_an_image_is_created_once_with_its_events(fresh: Served) -> None:
    request = pb.CreateImageRequest(
        namespace="docker", references=["made", "also/made:2", "made:latest"],
        config=dump({**CONFIG, "author": "me", "history": [{"created_by": "x", "empty_layer": True}]}))
    made = [(await fresh.call(rpc.ImageServiceStub, "CreateImage", request)).image for _ in range(2)]
    assert made[0] == made[1]
    assert list(made[0].familiar) == ["also/made:2", "made:latest"]
    selector = types_pb2.EventSelector()
    selector.after.sequence = 0
    selector.until.GetCurrentTime()
    stub = rpc.ImageServiceStub(fresh.peer.channel)
    events = [one.event async for one in fresh.peer.stream(stub.Events, pb.EventsRequest(selector=selector))]
    assert [(event.action, event.attributes["name"]) for event in events] == [
        ("create", made[0].id), ("tag", "made:latest"), ("tag", "also/made:2")]
    for references, field in ((["UPPER"], "references"), (["a@sha256:" + "0" * 64], "references")):
        with pytest.raises(InvalidArgument) as refused:
            await fresh.call(rpc.ImageServiceStub, "CreateImage", pb.CreateImageRequest(
                namespace="docker", references=references, config=dump(CONFIG)))
        assert refused.value.field == field
