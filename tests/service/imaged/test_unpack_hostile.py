"""What a hostile layer cannot do: leave its root, fill the disk or the memory, or reach what its worker has."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from chassis import kernel
from chassis.errors import InvalidArgument, ResourceExhausted
from chassis.tar import Entry, Kind, Writer
from imaged.unpack.unpacker import Feed, Unpacker
from imaged.unpack.worker import Unpacked
from tests.service.imaged.layers import Bench, Member, directory, file, hardlink, layer, symlink, zstd

TRAVERSALS: dict[str, tuple[Member, ...]] = {
    "a symlinked parent": (symlink("d", "{canary_dir}"), file("d/canary", b"evil")),
    "a relative symlinked parent": (symlink("d", "../../.."), file("d/canary", b"evil")),
    "a long way up": (symlink("d", "../" * 50), file("d/{canary}", b"evil")),
    "a directory, then a symlink, then a file below": (
        directory("d"), file("d/x"), symlink("d", "{canary_dir}"), file("d/canary", b"evil")),
    "a link through a link": (symlink("a", "{canary_dir}"), symlink("b", "a"), file("b/canary", b"evil")),
    "a mode change through a symlink": (symlink("c", "{canary}"), file("c", b"", mode=0o777)),
    "a directory over a symlink": (symlink("c", "{canary_dir}"), directory("c", 0o777), file("c/canary", b"evil")),
    "a hard link with a mode through a symlink": (
        symlink("c", "{canary}"), hardlink("h", "c", mode=0o777), file("h", b"evil")),
    "an absolute name": (file("{canary}", b"evil"),),
}
REFUSED: dict[str, tuple[Member, ...]] = {
    "a name that climbs": (file("../canary", b"evil"),),
    "a name that climbs from below": (file("a/../../canary", b"evil"),),
    "a hard link to the host": (hardlink("h", "{canary}"),),
    "a hard link that climbs": (hardlink("h", "../canary"),),
    "a hard link through a symlink": (symlink("d", "{canary_dir}"), hardlink("h", "d/canary")),
    "a whiteout of the parent": (file("d/.wh..."),),
    "a whiteout of itself": (file("d/.wh.."),),
    "a whiteout of nothing": (file("d/.wh."),),
    "a whiteout that climbs": (file("../.wh.canary"),),
    "a file as parent": (file("f"), file("f/x")),
    "a dangling symlink as parent": (symlink("d", "nowhere"), file("d/x")),
    "a loop of symlinks as parent": (symlink("a", "b"), symlink("b", "a"), file("a/x")),
    "a part that is too long": (file("n" * 300),),
    "a root that is a file": (file("."),),
    "a root that is a symlink": (symlink("./", "{canary_dir}"),),
    "a device number out of range": (Entry(name=b"d", kind=Kind.CHAR, device=(1 << 13, 0)),),
}


def _aim(members: tuple[Member, ...], canary: Path) -> tuple[Member, ...]:
    def aim(raw: bytes) -> bytes:
        return raw.replace(b"{canary_dir}", os.fsencode(canary.parent)).replace(b"{canary}", os.fsencode(canary))

    aimed: list[Member] = []
    for member in members:
        entry, content = member if isinstance(member, tuple) else (member, b"")
        entry = Entry(**{slot: getattr(entry, slot) for slot in Entry.__slots__} | {
            "name": aim(entry.name), "link": aim(entry.link)})
        aimed.append((entry, content))
    return tuple(aimed)


@pytest.mark.parametrize("members", TRAVERSALS.values(), ids=TRAVERSALS.keys())
async def test_19_20_21_what_points_out_of_the_root_stays_in_it(
    bench: Bench, tmp_path: Path, members: tuple[Member, ...]
) -> None:
    # Docker resolves such links within the layer, or refuses; neither touches the canary (the fixture looks).
    with contextlib.suppress(InvalidArgument):
        await bench.unpack(layer(*_aim(members, tmp_path / "canary")))


@pytest.mark.parametrize("members", REFUSED.values(), ids=REFUSED.keys())
async def test_19_20_21_a_hostile_layer_is_refused_and_leaves_nothing(
    bench: Bench, tmp_path: Path, members: tuple[Member, ...]
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await bench.unpack(layer(*_aim(members, tmp_path / "canary")))
    assert caught.value.reason == "BAD_ARCHIVE"
    assert os.listdir(bench.root / "l") == []
    assert os.listdir(bench.root / "trash") == []


async def test_19_one_hostile_layer_unpacked_many_times_at_once_stays_apart(bench: Bench, tmp_path: Path) -> None:
    blob = layer(*_aim(
        (directory("d"), symlink("d", "{canary_dir}"), file("d/canary", b"evil"), directory("d"), file("d/x")) * 50,
        tmp_path / "canary"))
    (tmp_path / "store" / "blob").write_bytes(blob)
    fillings = [bench.store.begin() for _ in range(8)]
    fd = os.open(tmp_path / "store" / "blob", os.O_RDONLY)
    done = await asyncio.gather(
        *(bench.unpacker.unpack(fd, filling.fd, Feed(len(blob), whole=True)) for filling in fillings),
        return_exceptions=True)
    os.close(fd)
    assert all(isinstance(one, Unpacked | InvalidArgument) for one in done)
    for filling in fillings:
        bench.store.discard(filling)


async def test_40_a_bomb_stops_at_its_cap(bench: Bench) -> None:
    entry = Entry(name=b"zeros", size=5 << 30)
    out: list[bytes] = []
    compressor = zstandard.ZstdCompressor().compressobj()
    Writer(lambda part: out.append(compressor.compress(part))).add(entry, (bytes(1 << 20) for _ in range(5 << 10)))
    out.append(compressor.flush())
    blob = b"".join(out)
    assert len(blob) < 1 << 20
    with pytest.raises(InvalidArgument) as caught:
        await bench.unpack(blob)
    assert caught.value.reason == "TOO_LARGE"
    assert os.listdir(bench.root / "l") == []


async def test_40_the_disk_is_never_filled_up(bench: Bench) -> None:
    await bench.unpacker.close()
    space = os.statvfs(bench.root)
    bench.unpacker = Unpacker(bench.root / "lock", reserve=space.f_bavail * space.f_frsize)
    with pytest.raises(ResourceExhausted, match="no space left on device"):
        await bench.unpack(layer(file("a", b"x")))


async def test_34_a_worker_has_bounded_memory(bench: Bench) -> None:
    members = [directory(f"d{index}") for index in range(50_000)]
    root = await bench.unpack(gzip.compress(layer(*members), 1))
    assert len(os.listdir(root)) == 50_000
    with pytest.raises(InvalidArgument, match="more than 100000 entries"):
        await bench.unpack(gzip.compress(layer(*members, *members, *members), 1))


AUDIT = """
import json, os, socket, sys
sys.path.insert(0, sys.argv[1])
from imaged.unpack import jail, worker
from chassis.compression import Caps
from chassis.tar import Limits
entered = False
seen = []
def hook(event, arguments):
    if entered and event in ("import", "open", "os.listdir", "subprocess.Popen", "os.exec", "os.posix_spawn",
                             "socket.__new__", "ctypes.dlopen"):
        seen.append((event, str(arguments)[:200]))
sys.addaudithook(hook)
real = jail.enter
def enter(directory):
    global entered
    root = real(directory)
    entered = True
    return root
jail.enter = enter
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
blob, directory = os.open(sys.argv[2], os.O_RDONLY), os.open(sys.argv[3], os.O_RDONLY)
size = os.fstat(blob).st_size
ours.send(worker.FEED.pack(size, 1))
ours.shutdown(socket.SHUT_WR)
out = os.dup(1)
worker.run(worker.Job(Caps(), Limits(), 0), theirs, blob, directory)
entered = False
theirs.close()
last = b""
while message := ours.recv(65536):
    last = message
os.write(out, json.dumps([json.loads(last), seen, sorted(os.listdir("/"))]).encode())
"""
OF_LAYERS = re.compile(r"open \(b'.*|os\.listdir \(\d+,\)", re.DOTALL)
"""A layer's names are bytes, and its directories are read by their descriptors."""


@pytest.mark.parametrize("kind", ["good", "gzip", "zstd", "bad name", "bad gzip", "bad zstd", "bad pax", "climbs"])
def test_nothing_is_imported_or_opened_after_the_root_is_changed(tmp_path: Path, kind: str) -> None:
    good = layer(
        directory("d", xattrs={b"user.a": b"1"}), file("d/f", b"x" * 100_000), file("d/.wh.x"), hardlink("h", "d/f"),
        file("d/f", b"again"), (Entry(name=b"s", size=5000, sparse=((4096, 4),)), b"data"), symlink("l", "d"),
    )
    blob = {
        "good": good, "gzip": gzip.compress(good), "zstd": zstd(good),
        "bad name": layer(file("n" * 300)), "bad gzip": gzip.compress(good)[:-3],
        "bad zstd": b"\x28\xb5\x2f\xfd\xff\xff",
        "bad pax": good[:512].replace(b"PaxHeaders", b"PaxHeaderz") + good[512:], "climbs": layer(file("../x")),
    }[kind]
    (tmp_path / "blob").write_bytes(blob)
    (tmp_path / "root").mkdir()
    services = str(Path(kernel.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-I", "-c", AUDIT, services, tmp_path / "blob", tmp_path / "root"],
        capture_output=True, check=True, text=True, timeout=60)
    outcome, seen, top = json.loads(run.stdout)
    assert ("result" in outcome) == (kind in ("good", "gzip", "zstd")), outcome
    assert [event for event in seen if not OF_LAYERS.fullmatch(" ".join(event))] == []
    assert not {"etc", "usr", "proc", "bin"} & set(top)
