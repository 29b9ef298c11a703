"""imaged over gRPC: root file systems are prepared, looked at, measured and listed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from chassis.errors import (
    AlreadyExists,
    InvalidArgument,
    NotFound,
)
from deploy.busybox_image import docker_archive
from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from tests.images import busybox, layered
from tests.service.imaged.served import LAYERED, Served, owner, shown


@pytest.fixture
def imaged(snapshots: Served) -> Served:
    return snapshots


async def test_a_snapshot_is_prepared_once_and_keeps_its_layers(imaged: Served) -> None:
    (image,) = await imaged.load(docker_archive({"a:1": layered()}))
    first = await imaged.prepare("key", "a:1")
    assert await imaged.prepare("key", "a:1") == first
    together = await asyncio.gather(*(imaged.prepare("other", "a:1") for _ in range(5)))
    assert len({one.SerializeToString(deterministic=True) for one in together}) == 1
    with pytest.raises(AlreadyExists):
        await imaged.prepare("key", image.id)
    keys = [option.key for option in first.mounts[0].options]
    assert keys == ["lowerdir"] * 4 + ["upperdir", "workdir", "redirect_dir", "metacopy", "index"]
    await imaged.remove("a:1", force=True)
    await imaged.collect()
    assert shown(first) == LAYERED
    assert await imaged.fsck() == []
    await imaged.remove_snapshot("key")
    await imaged.remove_snapshot("key")
    await imaged.remove_snapshot("other")
    await imaged.collect()
    assert imaged.directories() == {"l": [], "s": [], "trash": [], "ingest": [], "blobs/sha256": []}
    with pytest.raises(NotFound):
        await imaged.call(rpc.SnapshotServiceStub, "GetSnapshot", pb.GetSnapshotRequest(key="key"))


async def test_a_snapshot_over_nothing_is_an_empty_directory(imaged: Served) -> None:
    assert shown(await imaged.prepare("empty")) == {}
    with pytest.raises(NotFound):
        await imaged.prepare("x", "nothing:1")
    assert imaged.directories()["s"] == ["empty"]
    with pytest.raises(InvalidArgument):
        await imaged.prepare("../x")


async def test_a_view_is_read_only_and_has_no_directories(fresh: Served) -> None:
    await fresh.load(docker_archive({"a:1": layered(), "b:1": busybox()}))
    for name in ("a:1", "b:1"):
        answer = await fresh.call(rpc.SnapshotServiceStub, "ViewSnapshot", pb.ViewSnapshotRequest(
            key=f"v-{name[0]}", owner=owner("v"), image=name))
        assert shown(answer.snapshot) == (LAYERED if name == "a:1" else {})
        assert "upperdir" not in [option.key for option in answer.snapshot.mounts[0].options]
    assert fresh.directories()["s"] == []


async def test_usage_counts_what_was_written(imaged: Served) -> None:
    await imaged.load(docker_archive({"a:1": busybox()}))
    snapshot = await imaged.prepare("key", "a:1")
    Path(os.fsdecode(snapshot.upper), "file").write_bytes(b"x" * 1_000_000)
    used = await imaged.call(rpc.SnapshotServiceStub, "SnapshotUsage", pb.SnapshotUsageRequest(key="key"))
    assert 1_000_000 <= used.bytes < 1_100_000
    assert used.inodes == 2


async def test_snapshots_are_listed_by_owner(imaged: Served) -> None:
    for index in range(3):
        await imaged.prepare(f"k{index}")
    answer = await imaged.call(rpc.SnapshotServiceStub, "ListSnapshots", pb.ListSnapshotsRequest(
        manager="gateway", page_size=2))
    assert [one.key for one in answer.snapshots] == ["k0", "k1"]
    answer = await imaged.call(rpc.SnapshotServiceStub, "ListSnapshots", pb.ListSnapshotsRequest(
        manager="gateway", page_size=2, page_token=answer.next_page_token))
    assert [one.key for one in answer.snapshots] == ["k2"]
    answer = await imaged.call(rpc.SnapshotServiceStub, "ListSnapshots", pb.ListSnapshotsRequest(manager="kubelet"))
    assert list(answer.snapshots) == []
