"""The life of snapshots, as the contract states it: what every snapshotter must do, through gRPC and mounts alone."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from chassis import pours
from chassis.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from chassis.ids import digest as check_digest
from chassis.instance import make_private
from deploy.busybox_image import docker_archive
from imaged import manifest
from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from tests.images import Entry, Image, directory, layer, layered, opaque, whiteout
from tests.service.imaged.served import Served, inside

BASE = Image([layer([
    directory("etc"), Entry("etc/passwd", data=b"root:x:0:0\n"), Entry("etc/old", data=b"old"), directory("srv"),
    Entry("srv/one", data=b"1"), Entry("srv/two", data=b"2"),
])])
TREE = "find . -mindepth 1 | sort | while read f; do if test -f $f; then echo $f $(cat $f); else echo $f; fi; done"

MOMENTARY = pytest.mark.parametrize("momentary", [False, True], ids=["lasting", "momentary"])


async def base(served: Served) -> pb.Image:
    (image,) = await served.load(docker_archive({"base:1": BASE}))
    return image


def names(tar: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return archive.getnames()


async def test_a_committed_snapshot_is_a_parent_that_shows_what_was_made(snapshots: Served) -> None:
    await base(snapshots)
    first = await snapshots.prepare("one", "base:1")
    inside(first, "echo new > etc/new; rm etc/old; rm -r srv; mkdir srv; echo 3 > srv/three; chmod 700 srv")
    made = await snapshots.commit("one", "layer-one")
    assert made.layer.chain_id == made.chain_id
    with pytest.raises(NotFound):
        await snapshots.snapshot("one")
    committed = await snapshots.snapshot("layer-one")
    assert (committed.committed, committed.writable, list(committed.mounts)) == (True, False, [])
    second = await snapshots.prepare("two", snapshot="layer-one")
    assert second.parent == made.chain_id
    view = await snapshots.view("seen", snapshot="layer-one")
    for snapshot in (second, view):
        assert inside(snapshot, TREE).splitlines() == [
            "./etc", "./etc/new new", "./etc/passwd root:x:0:0", "./srv", "./srv/three 3"]
        assert inside(snapshot, "stat -c %a srv").strip() == "700"
    with pytest.raises(AssertionError, match="Read-only"):
        inside(view, "touch x")


async def test_a_commit_is_the_blob_that_it_says_and_the_same_again(snapshots: Served) -> None:
    await base(snapshots)
    inside(await snapshots.prepare("one", "base:1"), "echo new > etc/new; rm srv/one")
    made = await snapshots.commit("one", "named")
    assert await snapshots.commit("one", "named") == made
    tar = await snapshots.tar_of("Diff", pb.DiffRequest(upper="named"))
    assert names(tar) == ["etc", "etc/new", "srv", "srv/.wh.one"]
    image = await snapshots.call(rpc.ImageServiceStub, "CreateImage", pb.CreateImageRequest(
        namespace="docker", references=["made:1"], snapshot="named",
        config=b'{"architecture": "amd64", "os": "linux", "config": {"Cmd": ["x"]}}'))
    assert image.image.layers[-1].diff_id == made.layer.diff_id
    assert image.image.layers[-1].chain_id == manifest.chain_ids(
        [check_digest(one.diff_id) for one in image.image.layers])[-1]
    await snapshots.remove_snapshot("named")
    await snapshots.collect()
    assert "./etc/new new" in inside(await snapshots.prepare("again", "made:1"), TREE)


async def test_a_commit_of_nothing_is_its_parent(snapshots: Served) -> None:
    image = await base(snapshots)
    inside(await snapshots.prepare("one", "base:1"), "mkdir -p dev; touch -r etc/old etc/old; : > etc/hosts")
    made = await snapshots.commit("one", "same", mount_points=[b"/dev", b"/etc/hosts"])
    assert not made.HasField("layer")
    assert made.chain_id == image.layers[-1].chain_id
    assert await snapshots.commit("one", "same", mount_points=[b"/dev", b"/etc/hosts"]) == made
    await snapshots.prepare("void")
    assert (await snapshots.commit("void", "nothing")).chain_id == ""
    assert inside(await snapshots.view("empty", snapshot="nothing"), TREE) == ""


async def test_a_commits_directory_is_what_its_tar_says(snapshots: Served) -> None:
    """Whoever unpacks the blob elsewhere sees what is seen here."""
    await base(snapshots)
    inside(await snapshots.prepare("one", "base:1"), """
        : > etc/hosts; mkdir proc; chmod 600 etc/passwd; chmod 644 etc/passwd
        ln srv/two srv/linked; ln -s two srv/link; mkfifo srv/fifo; mknod srv/null c 1 3
        echo x > srv/.wh.one
        touch -d @5.5 etc/old
    """)
    made = await snapshots.commit("one", "named", mount_points=[b"/etc/hosts", b"/proc"])
    tar = await snapshots.tar_of("Diff", pb.DiffRequest(upper="named"))
    # The same layer over the same parent, once as the directory that was committed and once from the blob.
    shows = "find . -mindepth 1 -printf '%p %y %m %U:%G %T@ %l %n\\n' | sort"
    here = inside(await snapshots.view("here", snapshot="named"), shows)
    unpacked = await snapshots.prepare("other", "base:1")
    applied = await snapshots.apply("other", tar)
    assert applied.diff_id == made.layer.diff_id
    assert inside(unpacked, shows) == here
    assert "./etc/hosts" not in here
    assert "./srv/.wh.one" not in here


@MOMENTARY
async def test_a_tar_is_applied_to_what_is_there_as_a_layer_is(snapshots: Served, momentary: bool) -> None:
    await base(snapshots)
    snapshot = await snapshots.prepare("one", "base:1")
    inside(snapshot, "mkdir new both; echo a > new/a; echo b > new/b; rm etc/old; echo x > both/x; echo f > file")
    answer = await snapshots.apply("one", layer([
        directory("etc"), Entry("etc/passwd", data=b"other"), directory("new", mode=0o700), whiteout("new/a"),
        Entry("new/c", data=b"c"), directory("srv"), opaque("srv"), Entry("srv/three", data=b"3"),
        directory("both"), opaque("both"), Entry("both/y", data=b"y"), directory("file"), Entry("file/in", data=b"in"),
        whiteout("missing"),
    ]), momentary=momentary)
    assert bool(answer.diff_id) is not momentary
    assert answer.size == len(b"othercyin3")
    assert inside(snapshot, TREE).splitlines() == [
        "./both", "./both/y y", "./etc", "./etc/passwd other", "./file", "./file/in in", "./new", "./new/b b",
        "./new/c c", "./srv", "./srv/three 3"]
    assert inside(snapshot, "stat -c %a new").strip() == "700"
    await snapshots.apply("one", layer([Entry(".wh..wh..opq"), Entry("alone", data=b"1")]), momentary=momentary)
    assert inside(snapshot, TREE) == "./alone 1\n"


@MOMENTARY
async def test_a_tar_that_is_broken_changes_nothing(snapshots: Served, momentary: bool) -> None:
    snapshot = await snapshots.prepare("one")
    good = layer([Entry("file", data=b"1")])
    cut = layer([Entry("long", data=bytes(1000))])[:700]
    await snapshots.apply("one", good, momentary=momentary)
    for bad in (layer([Entry("new", data=b"1"), Entry("../out", data=b"1")]), cut, b"\x1f\x8bnot gzip"):
        with pytest.raises(InvalidArgument):
            await snapshots.apply("one", bad, momentary=momentary)
        assert inside(snapshot, TREE) == "./file 1\n"
    with pytest.raises(NotFound):
        await snapshots.apply("nobody", good, momentary=momentary)
    await snapshots.view("view")
    with pytest.raises(InvalidArgument) as read_only:
        await snapshots.apply("view", good, momentary=momentary)
    assert read_only.value.reason == "READ_ONLY"
    assert snapshots.directories()["ingest"] == []
    assert os.listdir(snapshots.state / "s" / "one") == ["upper", "work"]


async def test_a_stream_that_breaks_off_changes_nothing_and_its_worker_goes(snapshots: Served) -> None:
    snapshot = await snapshots.prepare("one")
    begun = asyncio.Event()

    async def requests() -> AsyncIterator[pb.ApplyRequest]:
        yield pb.ApplyRequest(key="one", momentary=True, data=layer([Entry("file", data=b"1")]))
        begun.set()
        await asyncio.Event().wait()

    applying = asyncio.create_task(snapshots.call(rpc.SnapshotServiceStub, "Apply", requests()))
    await begun.wait()
    applying.cancel()
    await asyncio.wait({applying})
    await snapshots.apply("one", layer([Entry("other", data=b"2")]), momentary=True)
    assert inside(snapshot, TREE) == "./other 2\n"


async def test_a_tar_is_poured_past_grpc_in_any_compression(snapshots: Served) -> None:
    make_private(snapshots.instance.pours)
    tar = layer([Entry("file", data=os.urandom(1 << 19).hex().encode())])

    async def pour(key: str, sent: bytes) -> pb.ApplyResponse:
        async with pours.offered(snapshots.instance.pours) as offer:
            request = pb.ApplyRequest(key=key, momentary=True, pour=offer.word)
            applying = asyncio.create_task(snapshots.call(rpc.SnapshotServiceStub, "Apply", of(request)))
            with await offer.taken() as stream, suppress(BrokenPipeError):
                await asyncio.get_running_loop().sock_sendall(stream, sent)
            return await applying  # type: ignore[no-any-return]

    packed = (tar, gzip.compress(tar), bz2.compress(tar), lzma.compress(tar, preset=0))
    for number, sent in enumerate(packed):
        await snapshots.prepare(f"to{number}")
        assert (await pour(f"to{number}", sent)).size == 1 << 20
    await snapshots.prepare("one")
    for broken in (tar[: 1 << 19], packed[2][:1000], b"BZh9" + bytes(1 << 20)):
        with pytest.raises(InvalidArgument):
            await pour("one", broken)
    for request in (pb.ApplyRequest(key="one", pour="0" * 16),
                    pb.ApplyRequest(key="one", pour="../imaged.sock", momentary=True)):
        with pytest.raises(InvalidArgument):
            await snapshots.call(rpc.SnapshotServiceStub, "Apply", of(request))
    assert list(snapshots.instance.pours.iterdir()) == []


async def of(*requests: pb.ApplyRequest) -> AsyncIterator[pb.ApplyRequest]:
    for request in requests:
        yield request


async def test_times_later_than_the_clamp_become_it_and_the_same_files_the_same_layer(snapshots: Served) -> None:
    made = []
    for key in ("one", "two"):
        inside(await snapshots.prepare(key), "mkdir a; echo x > a/new; ln -s x a/link; touch -d @77.5 a/old")
        request = pb.CommitSnapshotRequest(key=key, name=f"made-{key}")
        request.clamp.FromNanoseconds(1_000_500_000_000)
        answer = await snapshots.call(rpc.SnapshotServiceStub, "CommitSnapshot", request)
        made.append(answer.layer)
        shown = inside(await snapshots.view(f"view-{key}", snapshot=f"made-{key}"), "find a -printf '%p %T@\\n' | sort")
        assert shown.splitlines() == ["a 1000.0000000000", "a/link 1000.0000000000", "a/new 1000.0000000000",
                                      "a/old 77.5000000000"]
    assert made[0] == made[1]


async def test_what_only_attributes_or_content_tell_apart_is_committed(snapshots: Served) -> None:
    await base(snapshots)
    inside(await snapshots.prepare("one", "base:1"), """
        touch -r etc/old /tmp/when; printf new > etc/old; touch -r /tmp/when etc/old; rm /tmp/when
        python3 -c 'import os; os.setxattr("etc/passwd", "user.mine", b"1")'
    """)
    await snapshots.commit("one", "named")
    assert names(await snapshots.tar_of("Diff", pb.DiffRequest(upper="named"))) == ["etc", "etc/old", "etc/passwd"]
    view = await snapshots.view("view", snapshot="named")
    assert inside(view, "cat etc/old; getfattr -n user.mine --only-values etc/passwd || "
                        "python3 -c 'import os; print(os.getxattr(\"etc/passwd\", \"user.mine\").decode(), end=\"\")'"
                  ) == "new1"


async def test_names_are_taken_once(snapshots: Served) -> None:
    await base(snapshots)
    for key in ("one", "two"):
        inside(await snapshots.prepare(key, "base:1"), f"echo {key} > file")
    await snapshots.commit("one", "named")
    with pytest.raises(AlreadyExists):
        await snapshots.commit("two", "named")
    with pytest.raises(InvalidArgument) as same:
        await snapshots.commit("two", "two")
    assert same.value.field == "name"
    with pytest.raises(NotFound):
        await snapshots.commit("nobody", "other")
    with pytest.raises(AlreadyExists):
        await snapshots.prepare("named", "base:1")
    with pytest.raises(InvalidArgument):
        await snapshots.commit("named", "more")
    with pytest.raises(Conflict) as writable:
        await snapshots.prepare("three", snapshot="two")
    assert writable.value.reason == "NOT_COMMITTED"
    with pytest.raises(NotFound) as missing:
        await snapshots.prepare("three", snapshot="nobody")
    assert missing.value.field == "snapshot"


async def test_a_committed_snapshot_keeps_its_layers_until_it_and_its_children_are_gone(snapshots: Served) -> None:
    await base(snapshots)
    inside(await snapshots.prepare("one", "base:1"), "echo x > file")
    await snapshots.commit("one", "named")
    child = await snapshots.prepare("child", snapshot="named")
    await snapshots.remove("base:1")
    await snapshots.collect()
    assert len(snapshots.directories()["l"]) == 2
    config = pb.CreateImageRequest(
        namespace="docker", snapshot="named", config=b'{"architecture": "amd64", "os": "linux"}')
    made = (await snapshots.call(rpc.ImageServiceStub, "CreateImage", config)).image
    assert all(one.HasField("blob") for one in made.layers)
    await snapshots.remove(made.id)
    await snapshots.remove_snapshot("named")
    await snapshots.collect()
    assert inside(child, "cat file srv/one") == "x\n1"
    await snapshots.remove_snapshot("child")
    await snapshots.collect()
    assert snapshots.directories()["l"] == []
    assert snapshots.directories()["blobs/sha256"] == []


async def test_views_and_committed_snapshots_are_exported_whole(snapshots: Served) -> None:
    (image,) = await snapshots.load(docker_archive({"layered:1": layered()}))
    inside(await snapshots.prepare("one", "layered:1"), "rm data/kept; echo x > data/more")
    await snapshots.commit("one", "named")
    await snapshots.view("view", snapshot="named")
    for key in ("named", "view"):
        found = names(await snapshots.tar_of("Export", pb.ExportRequest(key=key)))
        assert "data/more" in found
        assert "data/kept" not in found
        assert not any("/.wh." in name for name in found)
    assert image.layers
