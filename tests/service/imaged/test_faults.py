"""imaged is killed at every boundary of every stage: the same call after its restart succeeds, and fsck finds nothing.

The boundaries are those of a run that succeeded, read from its trace: none is named here.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import stages
from chassis.errors import PierError
from deploy.busybox_image import Image, docker_archive, layer
from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from tests.images import Entry, pack
from tests.registry import Registry
from tests.service.imaged.served import NAMESPACE, Served, stage_names

Verb = Callable[[Served], Awaitable[object]]
IMAGE = Image([layer([Entry(f"f{index}", data=random.Random(index).randbytes(200_000))]) for index in range(3)])
NOTHING: dict[str, list[str]] = {"l": [], "s": [], "trash": [], "ingest": [], "blobs/sha256": []}


async def _nothing(_served: Served) -> None:
    return


async def _clean(served: Served) -> None:
    """Take away whatever there is, and see that it is away."""
    await served.clear()
    assert served.directories() == NOTHING


async def _boundaries(served: Served, verb: Verb) -> list[str]:
    with stages.trace("test") as root:
        await verb(served)
    names = stage_names(root)
    assert names
    return [point for name in names for point in (name, name + "@end")]


async def _survives(directory: Path, before: Verb, verb: Verb, check: Verb, least: int) -> None:
    served, armed = Served(directory), directory / "armed"
    try:
        await served.start(fault=f"@{armed}")
        await before(served)
        points = await _boundaries(served, verb)
        assert len(points) >= least, points
        await _clean(served)
        for point in points:
            await before(served)
            armed.write_text(f"imaged:{point}:kill")
            with pytest.raises(PierError):  # noqa: PT012 - what is awaited names the point where it does not raise
                await verb(served)
                pytest.fail(f"{point}: was not reached")
            assert await served.stop() == -signal.SIGKILL, point
            await served.start(fault=f"@{armed}")
            assert await served.fsck() == [], point
            await verb(served)
            await check(served)
            assert await served.fsck() == [], point
            await _clean(served)
    finally:
        await served.stop()


async def test_pull_survives_being_killed_at_every_boundary(tmp_path: Path, registry: Registry) -> None:
    registry.push("killed", "v1", pack(IMAGE))
    name = f"{registry.host}/killed:v1"

    async def check(served: Served) -> None:
        assert (await served.image(name)).size == 600_000
        assert len(served.directories()["l"]) == 3
        assert (await served.prepare("after", name)).writable

    await _survives(tmp_path, _nothing, lambda served: served.pulled(name), check, least=18)


async def test_load_survives_being_killed_at_every_boundary(tmp_path: Path) -> None:
    raw = docker_archive({"loaded:v1": IMAGE})

    async def check(served: Served) -> None:
        assert (await served.image("loaded:v1")).size == 600_000

    await _survives(tmp_path, _nothing, lambda served: served.load(raw), check, least=12)


async def test_import_survives_being_killed_at_every_boundary(tmp_path: Path) -> None:
    raw = IMAGE.layers[0]

    async def check(served: Served) -> None:
        assert (await served.image("imported:v1")).size == 200_000

    await _survives(tmp_path, _nothing, lambda served: served.import_(raw, reference="imported:v1"), check, least=8)


async def _load(served: Served) -> None:
    await served.load(docker_archive({"used:v1": IMAGE}))


async def test_prepare_survives_being_killed_at_every_boundary(tmp_path: Path) -> None:
    async def check(served: Served) -> None:
        snapshot = await served.prepare("container", "used:v1")
        assert Path(os.fsdecode(snapshot.upper)).is_dir()

    await _survives(tmp_path, _load, lambda served: served.prepare("container", "used:v1"), check, least=4)


async def test_remove_survives_being_killed_at_every_boundary(tmp_path: Path) -> None:
    async def prepare(served: Served) -> None:
        await _load(served)
        snapshot = await served.prepare("container", "used:v1")
        (Path(os.fsdecode(snapshot.upper)) / "file").write_bytes(b"x")

    async def check(served: Served) -> None:
        assert served.directories()["s"] == []

    await _survives(tmp_path, prepare, lambda served: served.remove_snapshot("container"), check, least=4)


async def test_removing_an_image_survives_being_killed_at_every_boundary(tmp_path: Path) -> None:
    async def remove(served: Served) -> None:
        # Removing what is removed already is an error of Docker's; the second time it may be.
        if any("used:v1" in image.familiar for image in await served.images()):
            await served.remove("used:v1")

    async def check(served: Served) -> None:
        await served.collect()
        assert served.directories() == NOTHING

    await _survives(tmp_path, _load, remove, check, least=6)


async def _changed(served: Served) -> None:
    """A snapshot that has changed something."""
    await _load(served)
    snapshot = await served.prepare("container", "used:v1")
    (Path(os.fsdecode(snapshot.upper)) / "file").write_bytes(b"x")


async def test_committing_a_snapshot_survives_being_killed_at_every_boundary(tmp_path: Path) -> None:
    async def check(served: Served) -> None:
        await served.collect()
        upper = Path(os.fsdecode((await served.prepare("after", snapshot="named")).upper))
        assert upper.is_dir()
        assert len(served.directories()["l"]) == 4
        tar = await served.tar_of("Export", pb.ExportRequest(key="named"))
        assert b"file" in tar

    await _survives(tmp_path, _changed, lambda served: served.commit("container", "named"), check, least=10)


async def test_copying_files_survives_being_killed_at_every_boundary(tmp_path: Path) -> None:
    async def before(served: Served) -> None:
        await _changed(served)
        await served.prepare("to", "used:v1")
        await served.apply("to", layer([Entry("there", data=b"there")]))

    async def check(served: Served) -> None:
        snapshot = await served.snapshot("to")
        assert sorted(os.listdir(os.fsdecode(snapshot.upper))) == ["copied", "there"]
        assert sorted(os.listdir(served.state / "s" / "to")) == ["upper", "work"]

    await _survives(
        tmp_path, before, lambda served: served.copy("container", "to", b"file", target=b"/copied"), check, least=6)


async def test_applying_a_tar_survives_being_killed_at_every_boundary(tmp_path: Path) -> None:
    raw = layer([Entry("new", data=b"new"), Entry(".wh.f0")])

    async def check(served: Served) -> None:
        snapshot = await served.snapshot("container")
        assert sorted(os.listdir(os.fsdecode(snapshot.upper))) == ["f0", "file", "new"]
        assert sorted(os.listdir(served.state / "s" / "container")) == ["upper", "work"]

    await _survives(tmp_path, _changed, lambda served: served.apply("container", raw), check, least=6)


async def test_an_images_commit_survives_being_killed_at_every_boundary(tmp_path: Path) -> None:
    request = pb.CommitRequest(snapshot="container", namespace=NAMESPACE, reference="made:v1")

    async def check(served: Served) -> None:
        assert len((await served.image("made:v1")).layers) == 4

    await _survives(
        tmp_path, _changed, lambda served: served.call(rpc.ImageServiceStub, "Commit", request), check, least=8)


async def test_push_survives_being_killed_at_every_boundary(tmp_path: Path, registry: Registry) -> None:
    name = f"{registry.host}/pushed-killed:v1"

    async def before(served: Served) -> None:
        await served.load(docker_archive({name: IMAGE}))

    async def push(served: Served) -> None:
        stub = rpc.ImageServiceStub(served.peer.channel)
        request = pb.PushRequest(namespace=NAMESPACE, reference=name)
        async for _ in served.peer.stream(stub.Push, request, 30):
            pass

    async def check(served: Served) -> None:
        await _clean(served)
        assert (await served.pulled(name)).size == 600_000

    await _survives(tmp_path, before, push, check, least=8)


async def test_a_sweep_survives_being_killed_at_every_boundary(tmp_path: Path) -> None:
    async def before(served: Served) -> None:
        await _changed(served)
        await served.commit("container", "named")
        await served.remove_snapshot("named")

    async def check(served: Served) -> None:
        assert len(served.directories()["l"]) == 3

    await _survives(tmp_path, before, Served.collect, check, least=6)


async def test_creating_an_image_survives_being_killed_at_every_boundary(tmp_path: Path) -> None:
    request = pb.CreateImageRequest(namespace=NAMESPACE, references=["made:v1"], snapshot="named",
                                    config=b'{"architecture": "amd64", "os": "linux"}')
    digests = set()

    async def before(served: Served) -> None:
        await _changed(served)
        await served.commit("container", "named", clamp=Timestamp(seconds=1))

    async def create(served: Served) -> None:
        image = (await served.call(rpc.ImageServiceStub, "CreateImage", request)).image
        digests.add((image.id, image.manifest.digest))

    async def check(served: Served) -> None:
        await served.collect()
        assert len((await served.image("made:v1")).layers) == 4
        assert len(digests) == 1

    await _survives(tmp_path, before, create, check, least=4)


async def test_pull_survives_being_killed_at_random_moments(tmp_path: Path, registry: Registry) -> None:
    seed = int(os.environ.get("PIER_TEST_SEED", str(random.SystemRandom().randrange(1 << 32))))
    print(f"PIER_TEST_SEED={seed}")
    generator = random.Random(seed)
    registry.push("random", "v1", pack(IMAGE))
    name = f"{registry.host}/random:v1"
    served = Served(tmp_path)
    try:
        for _ in range(10):
            await served.start()
            assert await served.fsck() == []
            await _pull_until(served, name, generator.uniform(0, 0.5))
            await served.stop(signal.SIGKILL)
        await served.start()
        assert await served.fsck() == []
        assert (await served.pulled(name)).size == 600_000
        await _clean(served)
    finally:
        await served.stop()


async def _pull_until(served: Served, name: str, seconds: float) -> None:
    task = asyncio.create_task(served.pulled(name))
    await asyncio.wait([task], timeout=seconds)
    os.kill(served.pid, signal.SIGKILL)
    await asyncio.gather(task, return_exceptions=True)
