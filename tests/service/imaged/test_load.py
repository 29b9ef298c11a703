"""Layers of an archive are unpacked while it comes in, before anything says that they are layers."""

from __future__ import annotations

import io
import tarfile

import pytest

from chassis import stages
from chassis.errors import InvalidArgument
from deploy.busybox_image import docker_archive
from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from tests.images import Entry, Image, layer, layered
from tests.service.imaged.served import LAYERED, Served, inside, load_requests, shown, stage_names

_NOTHING = bytes(10240)
_WRONG = b'[{"Config": "nowhere.json", "Layers": ["a.tar"]}]'


def joined_with(files: dict[str, bytes], archive: bytes) -> bytes:
    """The archive with other files before what it has."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as joined, tarfile.open(fileobj=io.BytesIO(archive)) as first:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            joined.addfile(info, io.BytesIO(data))
        for member in first:
            joined.addfile(member, first.extractfile(member))
    return out.getvalue()


async def test_layers_are_unpacked_before_the_archives_end(snapshots: Served) -> None:
    stub = rpc.ImageServiceStub(snapshots.peer.channel)
    with stages.trace("test") as root:
        raw = docker_archive({"early:1": layered()})
        answers = [one.layer async for one in snapshots.peer.stream(stub.Load, load_requests(raw), 30)]
    done = [one.digest for one in answers if one.phase == pb.LAYER_PHASE_EXTRACTING and one.current == one.total > 0]
    assert len(done) == len(layered().layers)
    names = stage_names(root)
    assert "load.unpack_early" in names
    assert "load.unpack" not in names
    assert shown(await snapshots.prepare("a", "early:1")) == LAYERED


async def test_what_looks_like_a_layer_and_is_none_leaves_nothing(snapshots: Served) -> None:
    stranger = layered().layers[1] + bytes(512)
    broken = b"\x1f\x8b" + bytes(1000)
    await snapshots.load(joined_with({"a.tar": stranger, "b.tar.gz": broken}, docker_archive({"early:1": layered()})))
    assert shown(await snapshots.prepare("a", "early:1")) == LAYERED
    on_disk = snapshots.directories()
    assert len(on_disk["l"]) == len(layered().layers)
    assert on_disk["trash"] == []
    assert len(on_disk["blobs/sha256"]) == len(layered().layers) + 2
    assert await snapshots.fsck() == []


async def test_an_archive_whose_tables_are_wrong_leaves_nothing_of_its_layers(snapshots: Served) -> None:
    with pytest.raises(InvalidArgument):
        await snapshots.load(joined_with({"manifest.json": _WRONG, "a.tar": layered().layers[1]}, _NOTHING))
    assert snapshots.directories()["l"] == []
    assert snapshots.directories()["blobs/sha256"] == []


async def test_an_image_of_two_hundred_layers_is_loaded_and_shown(snapshots: Served) -> None:
    """More than mount(2) takes in its page of options, and than Docker's 127."""
    await snapshots.load(docker_archive({"deep:1": Image([
        layer([Entry(f"f{number}", data=b"x"), Entry("top", data=str(number).encode())]) for number in range(200)])}))
    snapshot = await snapshots.prepare("deep", "deep:1")
    assert inside(snapshot, "cat top; ls | wc -l") == "199201\n"
