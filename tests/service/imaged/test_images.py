"""imaged over gRPC: images come, are named, are used and go."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import zstandard

from chassis.errors import (
    Aborted,
    Conflict,
    InvalidArgument,
    NotFound,
)
from deploy.busybox_image import Image, docker_archive, layer
from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from pier.types.v1 import types_pb2
from tests import images
from tests.images import Entry, busybox, layered, pack
from tests.registry import Registry
from tests.service.imaged.served import LAYERED, NAMESPACE, Served, serving, shown


@pytest.fixture
def imaged(snapshots: Served) -> Served:
    return snapshots


async def test_images_are_loaded_from_a_docker_archive_of_any_compression(imaged: Served) -> None:
    raw = docker_archive({"one:v1": layered(), "two:v2": busybox()})
    for packed in (raw, gzip.compress(raw, 1), zstandard.ZstdCompressor().compress(raw)):
        loaded = await imaged.load(packed)
        assert sorted(name for image in loaded for name in image.familiar) == ["one:v1", "two:v2"]
    assert shown(await imaged.prepare("a", "one:v1")) == LAYERED
    image = await imaged.image("one:v1")
    # What the archive has besides (its tables) is not kept.
    wanted = {image.id, (await imaged.image("two:v2")).id}
    for one in (image, await imaged.image("two:v2")):
        wanted |= {one.manifest.digest, *(each.blob.digest for each in one.layers)}
    assert {f"sha256:{name}" for name in imaged.directories()["blobs/sha256"]} == wanted
    assert await imaged.fsck() == []


async def test_an_image_is_loaded_from_an_oci_layout(imaged: Served, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    script = Path(images.__file__).parents[1] / "deploy" / "busybox_image.py"
    subprocess.run(  # noqa: ASYNC221 - a short helper
        [sys.executable, str(script), "--name", "oci:v1", "--format", "oci-layout", str(layout)], check=True)
    raw = subprocess.run(["tar", "-c", "-C", str(layout), "."], check=True, capture_output=True).stdout  # noqa: ASYNC221
    (image,) = await imaged.load(raw)
    assert image.layers
    assert (await imaged.image(image.id)).id == image.id


async def test_a_root_file_system_is_imported(imaged: Served) -> None:
    tar = layered().layers[1]
    for raw in (tar, gzip.compress(tar)):
        image = await imaged.import_(raw, reference="imported:v1", message="from a test")
        assert list(image.familiar) == ["imported:v1"]
        assert image.layers[0].diff_id == "sha256:" + hashlib.sha256(tar).hexdigest()
        config = json.loads(image.config)
        assert config["history"][0]["comment"] == "from a test"
    assert shown(await imaged.prepare("a", "imported:v1"))["data/kept"] == b"first"
    unnamed = await imaged.import_(tar)
    assert list(unnamed.familiar) == []
    configured = await imaged.import_(tar, config=b'{"Cmd": ["sh"]}')
    assert json.loads(configured.config)["config"] == {"Cmd": ["sh"]}
    for bad in (b"[]", b"{", b'{"Cmd": 1}'):
        with pytest.raises(InvalidArgument):
            await imaged.import_(tar, config=bad)
    assert await imaged.fsck() == []


async def test_an_image_is_found_by_every_name_it_has(imaged: Served) -> None:
    (image,) = await imaged.load(docker_archive({"busybox:latest": busybox()}))
    digits = image.id.removeprefix("sha256:")
    for name in ("busybox", "busybox:latest", "docker.io/library/busybox", image.id, digits, digits[:12],
                 "sha256:" + digits[:12]):
        assert (await imaged.image(name)).id == image.id
    for name in ("busybox:other", "nothing", "sha256:" + "0" * 64):
        with pytest.raises(NotFound, match="No such image"):
            await imaged.image(name)
    for name in ("", "Busy", "sha256:../../x", "../x"):
        with pytest.raises(InvalidArgument):
            await imaged.image(name)


async def test_namespaces_do_not_see_one_another(imaged: Served) -> None:
    await imaged.load(docker_archive({"busybox:latest": busybox()}))
    other = pb.ListImagesRequest(namespace="k8s.io")
    answer = await imaged.call(rpc.ImageServiceStub, "ListImages", other)
    assert list(answer.images) == []
    with pytest.raises(NotFound):
        await imaged.call(rpc.ImageServiceStub, "GetImage", pb.GetImageRequest(namespace="k8s.io", image="busybox"))


async def test_a_tag_moves_and_leaves_the_old_image_without_a_name(imaged: Served) -> None:
    await imaged.load(docker_archive({"a:1": busybox()}))
    await imaged.load(docker_archive({"b:1": layered()}))
    await imaged.tag("b:1", "a:1")
    assert (await imaged.image("a:1")).id == (await imaged.image("b:1")).id
    assert sorted(len(image.familiar) for image in await imaged.images()) == [0, 2]


async def test_images_are_listed_in_pages(imaged: Served) -> None:
    for index in range(5):
        one = Image([layer([Entry(f"f{index}")])])
        await imaged.load(docker_archive({f"page{index}:1": one}))
    token, seen = "", []
    while True:
        answer = await imaged.call(rpc.ImageServiceStub, "ListImages", pb.ListImagesRequest(
            namespace=NAMESPACE, page_size=2, page_token=token))
        assert len(answer.images) <= 2
        seen += [image.id for image in answer.images]
        token = answer.next_page_token
        if not token:
            break
    assert len(seen) == len(set(seen)) == 5


async def test_an_image_is_removed_with_its_last_name(imaged: Served) -> None:
    (image,) = await imaged.load(docker_archive({"a:1": layered()}))
    await imaged.tag("a:1", "b:1")
    assert await imaged.remove("a:1") == ["Untagged: a:1"]
    removed = await imaged.remove("b:1")
    chain = [one.chain_id for one in image.layers]
    assert removed == ["Untagged: b:1", f"Deleted: {image.id}", *(f"Deleted: {one}" for one in reversed(chain))]
    with pytest.raises(NotFound, match="No such image: b:1"):
        await imaged.remove("b:1")
    assert imaged.directories()["blobs/sha256"] == []
    assert imaged.directories()["l"] == []
    assert await imaged.fsck() == []


async def test_layers_that_another_image_shares_stay(imaged: Served) -> None:
    await imaged.load(docker_archive({"base:1": busybox(), "child:1": layered()}))
    removed = await imaged.remove("child:1")
    assert len([line for line in removed if line.startswith("Deleted")]) == 1 + 3
    assert shown(await imaged.prepare("a", "base:1")) == {}


async def test_conflicts_are_dockers(imaged: Served) -> None:
    (image,) = await imaged.load(docker_archive({"a:1": busybox()}))
    running = pb.ImageUse(image_id=image.id, container_id="c" * 64, running=True)
    stopped = pb.ImageUse(image_id=image.id, container_id="d" * 64)
    short = image.id.removeprefix("sha256:")[:12]
    unable = f"unable to delete {short}"
    with pytest.raises(Conflict, match=r'unable to remove repository reference "a:1" \(must force\) - container d{12} '
                                       f"is using its referenced image {short}"):
        await imaged.remove("a:1", uses=[stopped])
    with pytest.raises(Conflict, match=rf"{unable} \(must be forced\) - image is being used by stopped container d"):
        await imaged.remove(short, uses=[stopped])
    with pytest.raises(Conflict, match=rf"{unable} \(cannot be forced\) - image is being used by running container c"):
        await imaged.remove(short, force=True, uses=[running])
    await imaged.tag("a:1", "other/b:1")
    with pytest.raises(Conflict, match="image is referenced in multiple repositories"):
        await imaged.remove(short)
    assert await imaged.remove("a:1", uses=[running]) == ["Untagged: a:1"]
    assert await imaged.remove("other/b:1", force=True, uses=[running]) == ["Untagged: other/b:1"]
    assert len(await imaged.images()) == 1
    assert (await imaged.remove(image.id, force=True, uses=[stopped]))[0] == f"Deleted: {image.id}"


async def test_events_tell_what_happened_to_images(fresh: Served) -> None:
    (image,) = await fresh.load(docker_archive({"a:1": busybox()}))
    await fresh.tag("a:1", "b:1")
    await fresh.remove("a:1")
    await fresh.remove("b:1")
    stub = rpc.ImageServiceStub(fresh.peer.channel)
    selector = types_pb2.EventSelector()
    selector.after.sequence = 0
    selector.until.GetCurrentTime()
    events = [one.event async for one in fresh.peer.stream(stub.Events, pb.EventsRequest(selector=selector))]
    assert [(event.action, event.attributes["name"]) for event in events] == [
        ("load", "a:1"), ("tag", "b:1"), ("untag", "a:1"), ("untag", "b:1"), ("delete", image.id)]
    assert {event.id for event in events} == {image.id}


async def test_a_save_of_nothing_is_refused(imaged: Served) -> None:
    save = rpc.ImageServiceStub(imaged.peer.channel).Save
    with pytest.raises(InvalidArgument) as refused:
        [one async for one in imaged.peer.stream(save, pb.SaveRequest(namespace="docker"))]
    assert refused.value.field == "images"


async def test_clients_that_break_off_an_upload_leave_nothing_and_no_thread(imaged: Served) -> None:
    raw = docker_archive({"a:1": layered()})
    sent = asyncio.Event()

    async def loading() -> AsyncIterator[pb.LoadRequest]:
        yield pb.LoadRequest(namespace=NAMESPACE, data=raw[: len(raw) // 2])
        sent.set()
        await asyncio.Event().wait()

    async def importing() -> AsyncIterator[pb.ImportRequest]:
        yield pb.ImportRequest(options=pb.ImportOptions(namespace=NAMESPACE), data=raw[: len(raw) // 2])
        sent.set()
        await asyncio.Event().wait()

    async def load() -> None:
        async for _ in imaged.peer.stream(rpc.ImageServiceStub(imaged.peer.channel).Load, loading()):
            pass

    for _ in range(6):  # more than there are threads
        for verb in (load(), imaged.call(rpc.ImageServiceStub, "Import", importing())):
            sent.clear()
            task = asyncio.create_task(verb)
            await asyncio.wait_for(sent.wait(), 60)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert await imaged.load(raw)
    await imaged.remove("a:1")
    async with asyncio.timeout(60):
        while True:
            await imaged.collect()
            if imaged.directories() == {"l": [], "s": [], "trash": [], "ingest": [], "blobs/sha256": []}:
                break


async def test_what_is_being_made_is_not_swept(imaged: Served, registry: Registry) -> None:
    registry.push("swept", "v1", pack(layered()))
    raw = docker_archive({"loaded:1": layered()})
    stop = asyncio.Event()

    async def sweep() -> None:
        while not stop.is_set():
            await imaged.collect()

    sweeper = asyncio.create_task(sweep())
    for _ in range(5):
        await imaged.pulled(f"{registry.host}/swept:v1")
        assert shown(await imaged.prepare("a", f"{registry.host}/swept:v1")) == LAYERED
        await imaged.remove_snapshot("a")
        await imaged.remove(f"{registry.host}/swept:v1")
        with contextlib.suppress(Aborted):
            await imaged.load(raw)
            assert shown(await imaged.prepare("b", "loaded:1")) == LAYERED
            await imaged.remove_snapshot("b")
            await imaged.remove("loaded:1")
    stop.set()
    await sweeper
    assert await imaged.fsck() == []


async def test_metrics_tell_what_is_stored(tmp_path: Path) -> None:
    async with serving(tmp_path) as first:
        await first.load(docker_archive({"a:1": layered()}))
        await first.prepare("a", "a:1")
        await first.call(rpc.ContentServiceStub, "WriteBlob", _one_blob(b"x" * 1000))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with serving(tmp_path, metrics_port=port):
        wanted = {"pier_images 1.0", "pier_snapshots 1.0", "pier_layers 4.0", "pier_unreferenced_bytes 1000.0"}
        async with asyncio.timeout(60):
            while True:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
                lines = set((await reader.read()).decode().splitlines())
                writer.close()
                if wanted <= lines:
                    break


async def _one_blob(content: bytes) -> AsyncIterator[pb.WriteBlobRequest]:
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    yield pb.WriteBlobRequest(ref="one", digest=digest, data=content)


@pytest.mark.parametrize("kind", ["btrfs", "zfs", "fuse-overlayfs", "nonsense"])
def test_a_snapshotter_that_there_is_not_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "imaged", "--instance", "itest", "--root", str(tmp_path / "root"), "--run",
         str(tmp_path / "run"), "--metrics-port", "0", "--snapshotter", kind],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}, check=False,
        capture_output=True, text=True, timeout=30)
    assert run.returncode != 0
    assert f"snapshotter: {kind} is not supported" in run.stderr or f"snapshotter: '{kind}' is none" in run.stderr
    assert "Traceback" not in run.stderr
