"""What is damaged or lost on disk is found, kept from being used, and brought again where it can be."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
from pathlib import Path

import pytest

from chassis.errors import DataLoss, PierError
from deploy.busybox_image import docker_archive, dump
from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from pier.system.v1 import system_pb2, system_pb2_grpc
from tests.images import Blob, Entry, Image, Packed, busybox, layer, layered, pack, pack_index
from tests.registry import Registry
from tests.service.imaged.served import LAYERED, NAMESPACE, Served, shown
from tests.service.imaged.test_push import listening, push


@pytest.fixture
async def pulled(snapshots: Served, registry: Registry) -> tuple[Served, pb.Image]:
    """An image that came from a registry, by an index."""
    registry.push("checked", "v1", pack_index([layered()]))
    return snapshots, await snapshots.pulled(f"{registry.host}/checked:v1")


def blob(served: Served, digest: str) -> Path:
    return served.state / "blobs" / "sha256" / digest.removeprefix("sha256:")


def quarantined(served: Served, digest: str) -> Path:
    return served.state / "quarantine" / digest.removeprefix("sha256:")


def directory(served: Served, chain_id: str) -> Path:
    return served.state / "l" / chain_id.removeprefix("sha256:")[:32]


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


async def findings(served: Served, *, repair: bool = False) -> list[tuple[str, str, bool]]:
    answer = await served.call(
        system_pb2_grpc.SystemServiceStub, "Fsck", system_pb2.FsckRequest(repair=repair))
    return [(one.reason, one.subject, one.repaired) for one in answer.findings]


def all_blobs(image: pb.Image) -> list[str]:
    index = image.digests[0].partition("@")[2]
    return sorted({image.id, image.manifest.digest, index, *(one.blob.digest for one in image.layers)})


async def test_every_blob_whose_bytes_were_flipped_is_found_and_fetched_again(
    pulled: tuple[Served, pb.Image]
) -> None:
    served, image = pulled
    for digest in all_blobs(image):
        flip(blob(served, digest))
    assert await findings(served) == [("BLOB_DAMAGED", digest, False) for digest in all_blobs(image)]
    assert await findings(served, repair=True) == [("BLOB_DAMAGED", digest, True) for digest in all_blobs(image)]
    assert await findings(served) == []
    assert list((served.state / "quarantine").iterdir()) == []
    assert (await served.image(image.id)).config == image.config


async def test_every_blob_that_is_gone_is_found_and_fetched_again(pulled: tuple[Served, pb.Image]) -> None:
    served, image = pulled
    for digest in all_blobs(image):
        blob(served, digest).unlink()
    lost = [("RECORD_WITHOUT_BLOB", digest) for digest in all_blobs(image)]
    assert await findings(served) == [(*one, False) for one in lost]
    assert await findings(served, repair=True) == [(*one, True) for one in lost]
    assert await findings(served) == []


async def test_what_no_registry_has_is_kept_in_quarantine_and_a_load_heals_it(snapshots: Served) -> None:
    raw = docker_archive({"local:1": layered()})
    (image,) = await snapshots.load(raw)
    digest = image.layers[1].blob.digest
    flip(blob(snapshots, digest))
    assert await findings(snapshots, repair=True) == [("BLOB_DAMAGED", digest, False)]
    assert not blob(snapshots, digest).exists()
    assert quarantined(snapshots, digest).exists()
    assert "its bytes have the digest" in json.loads(quarantined(snapshots, digest).with_suffix(".json").read_text())[
        "reason"]
    for _ in range(2):
        await snapshots.collect()
        assert await findings(snapshots) == [("BLOB_IN_QUARANTINE", digest, False)]
    assert await findings(snapshots, repair=True) == [("BLOB_IN_QUARANTINE", digest, False)]
    assert shown(await snapshots.prepare("runs", "local:1")) == LAYERED
    await snapshots.load(raw)
    assert await findings(snapshots) == []
    assert not quarantined(snapshots, digest).exists()


async def test_what_lies_in_quarantine_goes_with_the_last_image_that_refers_to_it(snapshots: Served) -> None:
    (image,) = await snapshots.load(docker_archive({"local:1": layered()}))
    digest = image.layers[1].blob.digest
    flip(blob(snapshots, digest))
    await findings(snapshots, repair=True)
    await snapshots.remove("local:1")
    assert list((snapshots.state / "quarantine").iterdir()) == []
    assert await findings(snapshots) == []


async def test_a_lost_blob_of_an_unpacked_layer_is_told_by_push_and_save_and_a_pull_brings_it(
    pulled: tuple[Served, pb.Image], registry: Registry
) -> None:
    served, image = pulled
    digest = image.layers[1].blob.digest
    blob(served, digest).unlink()
    stub = rpc.ImageServiceStub(served.peer.channel)
    with pytest.raises(DataLoss, match=f"lost: the blob {digest} is not here"):
        [one async for one in served.peer.stream(
            stub.Save, pb.SaveRequest(namespace=NAMESPACE, images=[image.id]), 30)]
    with listening(_lacks_everything) as port:
        await served.tag(image.id, f"127.0.0.1:{port}/elsewhere:v1")
        with pytest.raises(DataLoss, match=rf"a layer of .* is lost: the blob {digest} is not here"):
            await push(served, f"127.0.0.1:{port}/elsewhere:v1")
    last = (await served.pull(f"{registry.host}/checked:v1"))[-1].end
    assert not last.up_to_date
    assert blob(served, digest).exists()
    assert await findings(served) == []


async def test_a_blob_that_is_another_layers_is_not_taken_for_a_lost_one(
    snapshots: Served, registry: Registry
) -> None:
    """An image says of a layer which is unpacked here that it comes as a blob which is something else."""
    mine, other = pack(Image([layer([Entry("a", data=b"a")])])), pack(Image([layer([Entry("b", data=b"b")])]))
    top = json.loads(other.top.data) | {"config": json.loads(mine.top.data)["config"]}
    registry.push("honest", "v1", mine)
    registry.push("liar", "v1", Packed((*mine.blobs, *other.blobs), (), Blob(mine.top.media_type, dump(top))))
    image = await snapshots.pulled(f"{registry.host}/honest:v1")
    blob(snapshots, image.layers[0].blob.digest).unlink()
    with pytest.raises(DataLoss, match="it unpacks to"):
        await snapshots.pulled(f"{registry.host}/liar:v1")
    assert [one.familiar for one in await snapshots.images()] == [[f"{registry.host}/honest:v1"]]


async def test_a_layer_whose_directory_is_gone_is_unpacked_again(pulled: tuple[Served, pb.Image]) -> None:
    served, image = pulled
    await served.prepare("stands", image.id)
    chain_id = image.layers[2].chain_id
    shutil.rmtree(directory(served, chain_id))
    assert await findings(served) == [("RECORD_WITHOUT_LAYER", chain_id, False)]
    assert await findings(served, repair=True) == [
        ("RECORD_WITHOUT_LAYER", chain_id, True), ("IMAGE_WITHOUT_LAYER", chain_id, True)]
    assert await findings(served) == []
    assert shown(await served.snapshot("stands")) == LAYERED


async def test_a_layer_whose_files_have_changed_is_unpacked_again_when_nothing_stands_on_it(
    pulled: tuple[Served, pb.Image]
) -> None:
    served, image = pulled
    chain_id = image.layers[1].chain_id
    await served.prepare("stands", image.id)
    (directory(served, chain_id) / "data" / "kept").write_bytes(b"something longer")
    assert await findings(served) == [("LAYER_CHANGED", chain_id, False)]
    assert await findings(served, repair=True) == [("LAYER_CHANGED", chain_id, False)]
    await served.remove_snapshot("stands")
    assert await findings(served, repair=True) == [("LAYER_CHANGED", chain_id, True)]
    assert await findings(served) == []
    assert shown(await served.prepare("again", image.id)) == LAYERED


@pytest.mark.parametrize("point", [
    "fsck.bring_blob", "fsck.bring_blob@end", "fsck.forget_layer@end", "fsck.layer_publish@end"])
async def test_a_repair_that_a_kill_broke_off_is_finished_by_the_next(
    fresh: Served, registry: Registry, point: str
) -> None:
    registry.push("killed", "v1", pack(layered()))
    image = await fresh.pulled(f"{registry.host}/killed:v1")
    flip(blob(fresh, image.layers[3].blob.digest))
    (directory(fresh, image.layers[1].chain_id) / "data" / "kept").write_bytes(b"something longer")
    await fresh.stop()
    await fresh.start(fault=f"imaged:{point}:kill")
    with pytest.raises(PierError):
        await findings(fresh, repair=True)
    assert await fresh.stop() == -signal.SIGKILL
    await fresh.start()
    assert all(repaired for _, _, repaired in await findings(fresh, repair=True))
    assert await findings(fresh) == []
    assert shown(await fresh.prepare("whole", image.id)) == LAYERED


async def test_a_layer_with_names_that_come_twice_is_no_finding(snapshots: Served) -> None:
    twice = layer([Entry("a", data=b"first"), Entry("b", data=b"b"), Entry("a", data=b"2")])
    image = await snapshots.import_(twice, reference="twice:1")
    assert image.size == 2
    assert await findings(snapshots) == []


async def test_a_layer_that_was_lost_from_disk_is_unpacked_again(snapshots: Served) -> None:
    (image,) = await snapshots.load(docker_archive({"a:1": layered()}))
    lost = snapshots.state / "l" / image.layers[1].chain_id.removeprefix("sha256:")[:32]
    await snapshots.stop()
    shutil.rmtree(lost)
    await snapshots.start()
    assert await snapshots.fsck() == [f"IMAGE_WITHOUT_LAYER {image.layers[1].chain_id}"]
    assert shown(await snapshots.prepare("a", "a:1")) == LAYERED
    assert await snapshots.fsck() == []


async def test_fsck_names_what_differs_and_repairs_it(snapshots: Served) -> None:
    (image,) = await snapshots.load(docker_archive({"a:1": busybox()}))
    await snapshots.prepare("kept", "a:1")
    (snapshots.state / "l" / ("f" * 32)).mkdir()
    (snapshots.state / "s" / "stranger" / "upper").mkdir(parents=True)
    (snapshots.state / "s" / "kept" / "work").rmdir()
    expected = [f"LAYER_WITHOUT_RECORD {'f' * 32}", "DIRECTORY_WITHOUT_SNAPSHOT stranger",
                "SNAPSHOT_WITHOUT_DIRECTORY kept"]
    assert await snapshots.fsck() == expected
    assert await snapshots.fsck(repair=True) == expected
    assert await snapshots.fsck() == []
    (snapshots.state / "blobs" / "sha256" / image.id.removeprefix("sha256:")).unlink()
    assert await snapshots.fsck(repair=True) == [f"RECORD_WITHOUT_BLOB {image.id}"]


async def test_an_image_that_has_lost_its_configuration_takes_no_other_out_of_the_list(snapshots: Served) -> None:
    lost, kept = await snapshots.load(docker_archive({"lost:1": layered(), "kept:1": Image([layer([Entry("k")])])}))
    for damage in (flip, Path.unlink):
        damage(blob(snapshots, lost.id))
        assert {one.id for one in await snapshots.images()} == {lost.id, kept.id}
        assert (await snapshots.image("kept:1")).id == kept.id
    with pytest.raises(DataLoss, match=r"configuration of image .* is lost"):
        await snapshots.image("lost:1")
    await snapshots.remove("lost:1")
    assert await findings(snapshots) == []


async def test_fsck_reads_no_faster_than_it_may_and_holds_up_neither_calls_nor_the_stop(tmp_path: Path) -> None:
    served = Served(tmp_path)
    try:
        await served.start(fsck_rate=1)
        await served.load(docker_archive({"slow:1": layered()}))
        asked = asyncio.create_task(findings(served))
        await served.tag("slow:1", "fast:1")
        done, _ = await asyncio.wait([asked], timeout=0.3)
        assert not done
        asked.cancel()
        await asyncio.wait([asked])
    finally:
        assert await served.stop() == 0


def _lacks_everything(client: socket.socket) -> None:
    """A registry that has no blob and takes any."""
    head = b""
    while b"\r\n\r\n" not in head:
        if not (data := client.recv(65536)):
            return
        head += data
    method = head.partition(b" ")[0]
    status = {b"POST": "202 Accepted\r\nLocation: /v2/elsewhere/blobs/uploads/1", b"HEAD": "404 No"}
    answer = f"HTTP/1.1 {status.get(method, '201 Created')}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    client.sendall(answer.encode())
    while method == b"PUT" and client.recv(65536):
        pass
