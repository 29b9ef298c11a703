"""Named volumes: they stay until they are removed, whoever is killed meanwhile."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from chassis import stages
from chassis.errors import InvalidArgument, NotFound, PierError, Unimplemented
from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from tests.service.imaged.served import NAMESPACE, Served, owner, stage_names


async def create(served: Served, name: str, **fields: object) -> pb.Volume:
    request = pb.CreateVolumeRequest(name=name, owner=owner("c"), **fields)  # type: ignore[arg-type]
    return (await served.call(rpc.VolumeServiceStub, "CreateVolume", request)).volume  # type: ignore[no-any-return]


async def remove(served: Served, name: str) -> None:
    await served.call(rpc.VolumeServiceStub, "RemoveVolume", pb.RemoveVolumeRequest(namespace=NAMESPACE, name=name))


async def names(served: Served) -> list[str]:
    answer = await served.call(rpc.VolumeServiceStub, "ListVolumes", pb.ListVolumesRequest(namespace=NAMESPACE))
    return [volume.name for volume in answer.volumes]


async def test_a_volume_is_made_once_and_keeps_what_is_in_it(imaged: Served) -> None:
    first = await create(imaged, "data", labels={"a": "b"})
    path = Path(os.fsdecode(first.path))
    (path / "file").write_bytes(b"kept")
    assert await create(imaged, "data") == first
    got = await imaged.call(rpc.VolumeServiceStub, "GetVolume", pb.GetVolumeRequest(namespace=NAMESPACE, name="data"))
    assert got.volume == first
    assert dict(first.labels) == {"a": "b"}
    await imaged.stop(signal.SIGKILL)
    await imaged.start()
    assert (path / "file").read_bytes() == b"kept"
    assert await names(imaged) == ["data"]
    await remove(imaged, "data")
    await remove(imaged, "data")
    assert not path.exists()
    with pytest.raises(NotFound, match="get data: no such volume"):
        await imaged.call(rpc.VolumeServiceStub, "GetVolume", pb.GetVolumeRequest(namespace=NAMESPACE, name="data"))


async def test_what_is_no_name_or_not_built_is_refused(imaged: Served) -> None:
    for name in ("", "x", "../x", "a/b", ".x", "-x"):
        with pytest.raises(InvalidArgument):
            await create(imaged, name)
    for options in ({"type": "cifs", "device": "//x/y"}, {"type": "ext4", "device": "/dev/sda"},
                    {"type": "none", "o": "bind,size=1", "device": "/x"}):
        with pytest.raises(Unimplemented):
            await create(imaged, "data", options=options)
    for options in (
        {"size": "1"}, {"type": "none", "o": "bind"}, {"o": "bind", "device": "rel"}, {"type": "tmpfs", "o": "size=1m"},
        {"type": "tmpfs", "device": "tmpfs", "o": "huge=always"}, {"type": "tmpfs", "device": "tmpfs", "o": "size=1\n"},
        {"type": "nfs", "device": ":/x"}, {"type": "nfs", "device": "/x", "o": "addr=a"},
        {"type": "nfs", "device": ":/x", "o": "addr=a,Bad=1"},
    ):
        with pytest.raises(InvalidArgument) as refused:
            await create(imaged, "data", options=options)
        assert refused.value.field.startswith("options")
    with pytest.raises(NotFound):
        await create(imaged, "data", driver="nfs")
    assert await names(imaged) == []


async def test_a_file_system_is_told_as_the_mount_that_it_is(imaged: Served) -> None:
    memory = await create(imaged, "memory", options={"type": "tmpfs", "device": "tmpfs", "o": "size=8m,nodev"})
    assert (memory.mount.type, memory.mount.source) == ("tmpfs", memory.path)
    assert [(one.key, one.value) for one in memory.mount.options] == [("size", b"8m"), ("nodev", b"")]
    server = await create(imaged, "server", options={"type": "nfs", "device": ":/x", "o": "addr=server,vers=4,ro"})
    assert (server.mount.type, server.mount.source) == ("nfs", b":/x")
    assert [one.key for one in server.mount.options] == ["addr", "vers", "ro"]
    snapshot = await imaged.prepare("c")
    for name in ("memory", "server"):
        filled = await imaged.call(rpc.VolumeServiceStub, "FillVolume", pb.FillVolumeRequest(
            namespace=NAMESPACE, name=name, snapshot=snapshot.key, path=b"/"))
        assert not filled.filled
    await imaged.remove_snapshot("c")


async def test_a_directory_without_a_record_is_told_and_never_emptied(imaged: Served) -> None:
    stranger = imaged.state / "volumes" / NAMESPACE / "stranger" / "_data"
    stranger.mkdir(parents=True)
    (stranger / "file").write_bytes(b"somebody's")
    (imaged.state / "volumes" / NAMESPACE / "nothing" / "_data").mkdir(parents=True)
    assert await imaged.fsck(repair=True) == [
        f"VOLUME_WITHOUT_RECORD {NAMESPACE}/nothing", f"VOLUME_WITHOUT_RECORD {NAMESPACE}/stranger"]
    assert await imaged.fsck() == [f"VOLUME_WITHOUT_RECORD {NAMESPACE}/stranger"]
    assert (stranger / "file").read_bytes() == b"somebody's"


@pytest.mark.parametrize("verb", [create, remove])
async def test_volumes_survive_imaged_being_killed_at_every_boundary(tmp_path: Path, verb: object) -> None:
    served, armed = Served(tmp_path), tmp_path / "armed"
    try:
        await served.start(fault=f"@{armed}")
        with stages.trace("test") as root:
            volume = await create(served, "data")
            if verb is remove:
                root.children.clear()
                root.grafts.clear()
                await remove(served, "data")
        points = [point for name in stage_names(root) for point in (name, name + "@end")]
        assert len(points) >= 4
        await remove(served, "data")
        for point in points:
            if verb is remove:
                await create(served, "data")
                (Path(os.fsdecode(volume.path)) / "file").write_bytes(b"x")
            armed.write_text(f"imaged:{point}:kill")
            with pytest.raises(PierError):
                await verb(served, "data")  # type: ignore[operator]
            assert await served.stop() == -signal.SIGKILL, point
            await served.start(fault=f"@{armed}")
            assert await served.fsck() == [], point
            await verb(served, "data")  # type: ignore[operator]
            assert await served.fsck() == [], point
            assert await names(served) == (["data"] if verb is create else []), point
            await remove(served, "data")
    finally:
        await served.stop()
