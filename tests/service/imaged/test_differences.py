"""What a snapshot has changed, read from what hostile containers leave behind."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from chassis.errors import Conflict, InvalidArgument, NotFound
from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from pier.types.v1 import types_pb2
from tests.service.imaged.served import NAMESPACE, Served


async def upper_of(imaged: Served, key: str, *, image: str = "") -> Path:
    """The writable directory of a new snapshot of nothing, or of the image."""
    snapshot = await imaged.call(rpc.SnapshotServiceStub, "PrepareSnapshot", pb.PrepareSnapshotRequest(
        key=key, owner=OWNER, **({"image": image} if image else {})))
    return Path(os.fsdecode(snapshot.snapshot.upper))


async def changes(imaged: Served, key: str, *mount_points: bytes) -> set[tuple[int, bytes]]:
    request = pb.ChangesRequest(key=key, mount_points=mount_points)
    return {
        (change.kind, change.path)
        async for answer in imaged.peer.stream(stub(imaged).Changes, request) for change in answer.changes
    }


def stub(imaged: Served) -> Any:
    return rpc.SnapshotServiceStub(imaged.peer.channel)


async def commit(imaged: Served, key: str, **fields: Any) -> pb.Image:
    request = pb.CommitRequest(snapshot=key, namespace=NAMESPACE, **fields)
    return (await imaged.call(rpc.ImageServiceStub, "Commit", request)).image  # type: ignore[no-any-return]


async def tar_of(imaged: Served, method: Any, request: Any) -> tarfile.TarFile:
    data = b"".join([answer.data async for answer in imaged.peer.stream(method, request)])
    return tarfile.open(fileobj=io.BytesIO(data))


OWNER = types_pb2.Owner(manager="test", namespace=NAMESPACE, id="a")
ADDED = pb.CHANGE_KIND_ADDED


async def test_26_links_out_of_the_tree_are_links_and_are_never_followed(imaged: Served, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    upper = await upper_of(imaged, "a")
    (upper / "out").symlink_to(secret)
    (upper / "file").symlink_to(secret / "key")
    (upper / "up").symlink_to("../../../../../../etc/passwd")
    assert await changes(imaged, "a") == {(ADDED, b"/out"), (ADDED, b"/file"), (ADDED, b"/up")}
    for method, request in (
        (stub(imaged).Diff, pb.DiffRequest(upper="a")), (stub(imaged).Export, pb.ExportRequest(key="a")),
    ):
        with await tar_of(imaged, method, request) as archive:
            assert all(member.issym() for member in archive)


async def test_names_and_attributes_that_steer_whoever_unpacks_are_left_out(imaged: Served) -> None:
    upper = await upper_of(imaged, "a")
    (upper / ".wh.passwd").write_text("")
    (upper / "file").write_text("x")
    os.setxattr(upper / "file", "user.mine", b"1")
    os.setxattr(upper / "file", "user.overlay.opaque", b"y")
    os.setxattr(upper / "file", "trusted.overlay.metacopy", b"")
    with await tar_of(imaged, stub(imaged).Diff, pb.DiffRequest(upper="a")) as archive:
        (member,) = archive
    assert member.name == "file"
    assert {name for name in member.pax_headers if name.startswith("SCHILY")} == {"SCHILY.xattr.user.mine"}


async def test_names_of_any_bytes_and_deep_trees_come_through(imaged: Served) -> None:
    upper = await upper_of(imaged, "a")
    os.mkdir(os.fsencode(upper) + b"/\xff\x01")
    deep(upper, 30)
    found = await changes(imaged, "a")
    assert (ADDED, b"/\xff\x01") in found
    assert len(found) == 31


async def test_a_tree_deeper_than_any_path_is_refused_and_not_cut(imaged: Served) -> None:
    deep(await upper_of(imaged, "a"), 60)
    with pytest.raises(InvalidArgument, match="4096"):
        await changes(imaged, "a")
    with pytest.raises(InvalidArgument, match="4096"):
        await commit(imaged, "a")


def deep(top: Path, levels: int) -> None:
    """Directories in one another, with names of 100 bytes."""
    here = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 100, dir_fd=here)
        deeper = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)


async def test_what_was_made_for_a_mount_is_no_change_unless_something_is_in_it(imaged: Served) -> None:
    upper = await upper_of(imaged, "a")
    (upper / "etc").mkdir()
    (upper / "etc" / "hosts").write_text("")
    (upper / "proc").mkdir()
    (upper / "sys").mkdir()
    (upper / "sys" / "own").write_text("")
    assert await changes(imaged, "a", b"/etc/hosts", b"/proc", b"/sys") == {
        (ADDED, b"/etc"), (ADDED, b"/sys"), (ADDED, b"/sys/own")}


async def test_what_is_not_there_or_cannot_be_is_refused(imaged: Served) -> None:
    with pytest.raises(NotFound):
        await changes(imaged, "nobody")
    await imaged.call(rpc.SnapshotServiceStub, "ViewSnapshot", pb.ViewSnapshotRequest(key="view", owner=OWNER))
    with pytest.raises(InvalidArgument):
        await changes(imaged, "view")
    with pytest.raises(NotFound):
        await commit(imaged, "nobody")


async def test_a_snapshot_of_nothing_becomes_an_image_of_one_layer(imaged: Served) -> None:
    upper = await upper_of(imaged, "a")
    (upper / "file").write_text("x")
    image = await commit(imaged, "a", reference="made:v1", config=b'{"Cmd": ["x"]}')
    assert len(image.layers) == 1
    assert list(image.familiar) == ["made:v1"]


async def test_a_commit_onto_an_image_that_is_gone_says_so(imaged: Served) -> None:
    base = await imaged.import_(tarball("base"), reference="base:v1")
    await upper_of(imaged, "a", image=base.id)
    await imaged.remove("base:v1", force=True)
    with pytest.raises(Conflict, match="is gone"):
        await commit(imaged, "a")


def tarball(name: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return data.getvalue()
