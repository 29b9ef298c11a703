"""A small file system that is full at some moment of every verb: a clear error, nothing corrupt, space given back."""

from __future__ import annotations

import gc
import os
import random
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from chassis import kernel
from chassis.errors import ResourceExhausted
from deploy.busybox_image import Image, docker_archive, layer
from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from tests.images import Entry, pack
from tests.registry import Registry
from tests.service.imaged.served import NAMESPACE, Served, inside, owner, serving

SIZE = 96 << 20
IMAGE = Image([layer([Entry(f"f{number}", data=random.Random(number).randbytes(1 << 20))]) for number in range(3)])
ROOM = (0, 100_000, 1 << 20, 3 << 20, 35 << 20)
"""Bytes that are left free, besides the reserve that unpacking keeps."""
RESERVE = 1 << 20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A directory whose "root" is a small file system of its own: ext4 on a loop device, or where this machine lends
    none (a container without /dev/loop-control, a kernel without the driver) a tmpfs, which is full as well."""
    root, image = tmp_path / "root", tmp_path / "ext4"
    root.mkdir()
    with image.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,nodiscard", image], check=True)
    mounted = subprocess.run(["mount", "-n", "-o", "loop", image, root], check=False, capture_output=True, text=True)
    if mounted.returncode:
        print(f"no loop device, tmpfs it is: {mounted.stderr}")
        kernel.mount(b"tmpfs", os.fsencode(root), b"tmpfs", 0, b"size=%d" % SIZE)
    else:
        (root / "lost+found").rmdir()
    yield tmp_path
    gc.collect()
    kernel.umount(os.fsencode(root), kernel.MNT_DETACH)


@pytest.fixture
async def served(small: Path) -> AsyncIterator[Served]:
    async with serving(small, disk_reserve_bytes=RESERVE) as running:
        yield running


def fill(served: Served, room: int) -> Path:
    """Leave only so much space."""
    ballast = served.directory / "root" / "ballast"
    space = os.statvfs(ballast.parent)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(4096, space.f_bavail * space.f_frsize - room - 32768))
    return ballast


Verb = Callable[[Served], Awaitable[object]]


async def _nothing(_served: Served) -> None:
    return


async def _snapshot(served: Served) -> None:
    inside(await served.prepare("from"), "head -c 3000000 /dev/urandom > file; cp file other")
    await served.prepare("to")


async def _fill_volume(served: Served) -> None:
    await served.call(rpc.VolumeServiceStub, "CreateVolume", pb.CreateVolumeRequest(name="vol", owner=owner("c")))
    await served.call(rpc.VolumeServiceStub, "FillVolume", pb.FillVolumeRequest(
        namespace=NAMESPACE, name="vol", snapshot="c", path=b"/"))


async def _container(served: Served) -> None:
    await served.load(docker_archive({"base:1": IMAGE}))
    await served.prepare("c", "base:1")


VERBS: dict[str, tuple[Verb, Verb]] = {
    "load": (_nothing, lambda served: served.load(docker_archive({"a:1": IMAGE}))),
    "import": (_nothing, lambda served: served.import_(IMAGE.layers[0] * 1, reference="a:1")),
    "commit": (_snapshot, lambda served: served.commit("from", "named")),
    "copy": (_snapshot, lambda served: served.copy("from", "to", b"/", target=b"/x/")),
    "apply": (_snapshot, lambda served: served.apply("to", IMAGE.layers[0])),
    "fill": (_container, _fill_volume),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_a_full_disk_is_told_and_the_same_call_succeeds_with_space(served: Served, verb: str) -> None:
    before, call = VERBS[verb]
    await _in_little_room(served, before, call)


async def test_a_pull_onto_a_full_disk_is_told_and_goes_on_with_space(served: Served, registry: Registry) -> None:
    registry.push("full", "v1", pack(IMAGE))
    await _in_little_room(served, _nothing, lambda running: running.pulled(f"{registry.host}/full:v1"))


async def _in_little_room(served: Served, before: Verb, call: Verb) -> None:
    refused = 0
    for room in ROOM:
        await before(served)
        ballast = fill(served, room)
        try:
            await call(served)
        except ResourceExhausted:
            refused += 1
        finally:
            ballast.unlink()
        assert await served.fsck() == [], room
        await call(served)
        assert await served.fsck() == [], room
        await _clear(served)
    assert refused >= 2


async def _clear(served: Served) -> None:
    await served.call(rpc.VolumeServiceStub, "RemoveVolume", pb.RemoveVolumeRequest(namespace=NAMESPACE, name="vol"))
    await served.clear()
    assert served.directories()["l"] == []
    assert served.directories()["blobs/sha256"] == []
