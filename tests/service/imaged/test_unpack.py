"""Unpacking with the real kernel: what a layer becomes."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chassis import kernel
from chassis.tar import Entry, Kind
from tests.service.imaged.layers import Bench, directory, file, hardlink, layer, symlink, zstd

DAY = 86_400 * 10**9


async def test_every_kind_of_entry_becomes_what_it_says(bench: Bench) -> None:
    root = await bench.unpack(layer(
        directory("./", 0o711, mtime_ns=DAY),
        directory("d", 0o1777, uid=1, gid=2, mtime_ns=2 * DAY),
        file("d/file", b"content", mode=0o4755, uid=1000, gid=1001, mtime_ns=3 * DAY + 7),
        file("implied/parents/file", b"x"),
        file(b"d/\xff\x01 name", b"bytes"),
        symlink("d/link", "/etc/passwd"),
        hardlink("d/hard", "d/file"),
        Entry(name=b"d/null", kind=Kind.CHAR, mode=0o666, device=(1, 3), mtime_ns=DAY),
        Entry(name=b"d/disk", kind=Kind.BLOCK, mode=0o660, device=(8, 0)),
        Entry(name=b"d/fifo", kind=Kind.FIFO, mode=0o622),
        Entry(name=b"d/caps", kind=Kind.FILE, mode=0o755, uid=5, xattrs={
            b"security.capability": bytes.fromhex("0100000200040000000000000000000000000000"), b"user.k": b"v\0"}),
    ))
    assert stat.S_IMODE(root.stat().st_mode) == 0o711
    assert root.stat().st_mtime_ns == DAY
    status = (root / "d").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns) == (0o1777, 1, 2, 2 * DAY)
    status = (root / "d/file").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o4755, 1000, 1001)
    assert status.st_mtime_ns == 3 * DAY + 7
    assert status.st_nlink == 2
    assert (root / "d/hard").samefile(root / "d/file")
    assert (root / "d/file").read_bytes() == b"content"
    assert (root / "implied/parents/file").read_bytes() == b"x"
    assert stat.S_IMODE((root / "implied").stat().st_mode) == 0o755
    assert Path(os.fsdecode(os.fsencode(root) + b"/d/\xff\x01 name")).read_bytes() == b"bytes"
    assert os.readlink(root / "d/link") == "/etc/passwd"
    null, disk = (root / "d/null").stat(), (root / "d/disk").stat()
    assert (stat.S_ISCHR(null.st_mode), null.st_rdev, null.st_mtime_ns) == (True, os.makedev(1, 3), DAY)
    assert (stat.S_ISBLK(disk.st_mode), disk.st_rdev) == (True, os.makedev(8, 0))
    assert stat.S_ISFIFO((root / "d/fifo").stat().st_mode)
    assert os.getxattr(root / "d/caps", "security.capability") == bytes.fromhex(
        "0100000200040000000000000000000000000000")
    assert os.getxattr(root / "d/caps", "user.k") == b"v\0"


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd])
async def test_the_diff_id_is_of_the_whole_plain_stream(bench: Bench, pack: Callable[[bytes], bytes]) -> None:
    plain = layer(file("a", b"x" * 3_000_000)) + bytes(8192)
    await bench.unpack(pack(plain))
    assert bench.last is not None
    assert bench.last.diff_id == "sha256:" + hashlib.sha256(plain).hexdigest()
    assert (bench.last.tar_size, bench.last.size, bench.last.entries) == (len(plain), 3_000_000, 1)


async def test_whiteouts_become_what_overlayfs_reads(bench: Bench) -> None:
    root = await bench.unpack(layer(
        directory("d"), file("d/.wh..wh..opq"), file("d/.wh.gone"), file("d/new"),
        directory("kept"), file(".wh.kept"),
        file(".wh.again"), directory("again"),
        file(".wh.file"), file("file", b"new"),
        file(".wh..wh.plnk/x"), file("other/.wh..wh.aufs"),
    ))
    assert os.getxattr(root / "d", "trusted.overlay.opaque") == b"y"
    gone = (root / "d/gone").stat()
    assert (stat.S_ISCHR(gone.st_mode), gone.st_rdev) == (True, 0)
    assert os.getxattr(root / "kept", "trusted.overlay.opaque") == b"y"
    assert os.getxattr(root / "again", "trusted.overlay.opaque") == b"y"
    assert (root / "file").read_bytes() == b"new"
    assert not any(".wh." in name for _, _, names in os.walk(root) for name in names)


async def test_overlayfs_shows_the_merged_layers(bench: Bench, tmp_path: Path) -> None:
    lower = await bench.unpack(layer(
        directory("a"), file("a/1", b"1"), file("a/2", b"2"), directory("b"), file("b/1", b"1"), file("c", b"c")))
    upper = await bench.unpack(layer(
        file("a/.wh.1"), file("a/3", b"3"), directory("b"), file("b/.wh..wh..opq"), file("b/2", b"2"), file(".wh.c")))
    inside = f"""
import os, sys
from chassis import kernel
kernel.unshare(kernel.CLONE_NEWNS)
kernel.mount(None, b"/", None, kernel.MS_REC | kernel.MS_PRIVATE)
options = "lowerdir={upper}:{lower},redirect_dir=nofollow,metacopy=off,index=off"
kernel.mount(b"overlay", b"/mnt", b"overlay", 0, options.encode())
print(sorted(os.path.join(top, name)[5:] for top, _, names in os.walk("/mnt") for name in names))
"""
    environment = {"PYTHONPATH": str(Path(kernel.__file__).parents[1])}
    shown = await asyncio.create_subprocess_exec(
        sys.executable, "-c", inside, stdout=subprocess.PIPE, env=environment)
    out, _ = await shown.communicate()
    assert out.strip() == b"['a/2', 'a/3', 'b/2']"


async def test_a_later_entry_replaces_an_earlier_one(bench: Bench) -> None:
    root = await bench.unpack(layer(
        file("a", b"old"), file("a", b"new"),
        directory("d"), file("d/x", b"x"), file("d", b"now a file"),
        symlink("s", "a"), file("s", b"not through the link"),
        directory("m", 0o700), file("m/x", b"stays"), directory("m", 0o750),
        symlink("t", "m"), directory("t"),
        file("h", b"h"), hardlink("i", "h"), hardlink("i", "h"),
    ))
    assert (root / "a").read_bytes() == b"new"
    assert (root / "d").read_bytes() == b"now a file"
    assert (root / "s").read_bytes() == b"not through the link"
    assert (root / "m/x").read_bytes() == b"stays"
    assert stat.S_IMODE((root / "m").stat().st_mode) == 0o750
    assert not (root / "t").is_symlink()
    assert (root / "h").stat().st_nlink == 2


async def test_a_sparse_file_keeps_its_holes(bench: Bench) -> None:
    root = await bench.unpack(layer((Entry(name=b"s", size=10 << 30, sparse=((5 << 30, 4),)), b"data")))
    status = (root / "s").stat()
    assert status.st_size == 10 << 30
    assert status.st_blocks * 512 < 1 << 20
    with (root / "s").open("rb") as opened:
        opened.seek(5 << 30)
        assert opened.read(5) == b"data\0"


async def test_78_overlay_xattrs_of_a_layer_are_dropped(bench: Bench) -> None:
    steering = {
        b"trusted.overlay.redirect": b"/../../etc", b"trusted.overlay.opaque": b"y", b"trusted.overlay.metacopy": b"",
        b"trusted.overlay.origin": b"x", b"user.overlay.redirect": b"/etc", b"user.overlay.opaque": b"y",
        b"trusted.anything": b"x", b"security.ima": b"x", b"security.selinux": b"x", b"user.kept": b"1",
    }
    root = await bench.unpack(layer(
        directory("d", xattrs=steering), file("f", xattrs=steering),
        Entry(name=b"l", kind=Kind.SYMLINK, link=b"x", xattrs=steering), directory("./", xattrs=steering),
    ))
    assert os.listxattr(root / "d") == ["user.kept"]
    assert os.listxattr(root / "f") == ["user.kept"]
    assert os.listxattr(root / "l", follow_symlinks=False) == []
    assert os.listxattr(root) == ["user.kept"]
    assert bench.last is not None
    assert bench.last.xattrs_dropped == 4 * 9 + 1
