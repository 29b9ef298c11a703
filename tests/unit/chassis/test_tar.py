"""chassis.tar: what is written is read, what GNU tar and Python write is understood, what is hostile is refused."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import tarfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import InvalidArgument
from chassis.tar import Entry, Kind, Limits, Reader, Writer, clean_name, pax
from chassis.tar import header as tar_header

ZEROS = bytes(1024)


def archive(*members: tuple[Entry, bytes]) -> bytes:
    out = bytearray()
    writer = Writer(out.extend)
    for entry, content in members:
        writer.add(entry, [content] if content else [])
    writer.close()
    return bytes(out)


def chunked(raw: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(raw), size):
        yield raw[start : start + size]


def contents(raw: bytes, size: int = 1 << 16, limits: Limits | None = None) -> list[tuple[Entry, bytes]]:
    reader = Reader(chunked(raw, size), limits)
    return [(entry, reader.read(1 << 24)) for entry in reader]


def block(name: bytes, typeflag: bytes = b"0", size: int = 0, link: bytes = b"") -> bytes:
    return tar_header.build(tar_header.Header(
        name=name, mode=0o644, uid=0, gid=0, size=size, mtime=0, typeflag=typeflag, link=link, uname=b"", gname=b"",
        device=(0, 0), dialect=tar_header.Dialect.USTAR,
    ))


def extended(body: bytes, flag: bytes = b"x") -> bytes:
    return block(b"x", flag, len(body)) + body + bytes(-len(body) % 512)


PARTS = st.binary(min_size=1, max_size=120).map(lambda raw: raw.translate(bytes(range(256)), b"\0/")).filter(bool)
NAMES = st.lists(PARTS, min_size=1, max_size=6).map(b"/".join)
XATTRS = st.dictionaries(
    st.binary(min_size=1, max_size=20).filter(lambda raw: b"=" not in raw and b"\0" not in raw), st.binary(max_size=64),
    max_size=3,
)


@st.composite
def entries(draw: st.DrawFn) -> tuple[Entry, bytes]:
    kind = draw(st.sampled_from(Kind))
    content = draw(st.binary(max_size=2000)) if kind is Kind.FILE else b""
    sparse = None
    size = len(content)
    if kind is Kind.FILE and draw(st.booleans()):
        pairs, offset, left = [], 0, len(content)
        while left:
            offset += draw(st.integers(0, 5000))
            length = left if left < 1024 or draw(st.booleans()) else 512 * draw(st.integers(1, left // 512))
            pairs.append((offset, length))
            offset, left = offset + length, left - length
        sparse, size = tuple(pairs), offset + draw(st.integers(0, 5000))
    device = (draw(st.integers(0, 4095)), draw(st.integers(0, 100_000)))
    return Entry(
        name=draw(NAMES), kind=kind, mode=draw(st.integers(0, 0o7777)), uid=draw(st.integers(0, 2**32 - 2)),
        gid=draw(st.integers(0, 2**32 - 2)), size=size, mtime_ns=draw(st.integers(-(2**62), 2**62)),
        link=draw(NAMES) if kind in (Kind.LINK, Kind.SYMLINK) else b"",
        device=device if kind in (Kind.CHAR, Kind.BLOCK) else (0, 0), xattrs=draw(XATTRS),
        uname=draw(PARTS), gname=draw(PARTS), sparse=sparse,
    ), content


@given(st.lists(entries(), max_size=6), st.integers(1, 3000))
def test_what_the_writer_writes_the_reader_gives_back(members: list[tuple[Entry, bytes]], size: int) -> None:
    reader = Reader(chunked(archive(*members), size))
    read = []
    for entry in reader:
        parts = [(offset, bytes(part)) for offset, part in reader.data()]
        read.append((entry, b"".join(part for _, part in parts)))
    assert len(read) == len(members)
    for (got, content), (wanted, stored) in zip(read, members, strict=True):
        name = got.name[:-1] if got.kind is Kind.DIRECTORY else got.name
        assert (name, content) == (wanted.name, stored)
        for field in ("kind", "mode", "uid", "gid", "size", "mtime_ns", "link", "device", "uname", "gname", "sparse"):
            assert getattr(got, field) == getattr(wanted, field), field
        assert dict(got.xattrs) == dict(wanted.xattrs)


@given(st.lists(entries().filter(lambda member: member[0].sparse is None), max_size=4))
def test_pythons_tarfile_reads_what_the_writer_writes(members: list[tuple[Entry, bytes]]) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive(*members)), mode="r:", errors="surrogateescape") as read:
        infos = read.getmembers()
    assert [os.fsencode(info.name) for info in infos] == [entry.name.rstrip(b"/") for entry, _ in members]
    assert [info.size for info in infos] == [entry.size for entry, _ in members]


@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_every_format_of_gnu_tar_is_understood(form: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    deep = tree / ("d" * 60) / ("e" * 30)
    deep.mkdir(parents=True)
    long = "n" * (90 if form in ("v7", "ustar") else 200)
    (tree / long[:90]).write_bytes(b"long")
    if form not in ("v7", "ustar"):
        (tree / long).write_bytes(b"longer")
        (tree / "far").symlink_to("t" * 150)
    (tree / "file").write_bytes(b"x" * 70_000)
    os.link(tree / "file", tree / "hard")
    os.utime(tree / "file", ns=(0, 1_234_567_890_123_456_789))
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    if form == "v7":
        names = [name for name in names if len(name) < 99]
    raw = subprocess.run(
        ["tar", f"--format={form}", "-c", "--no-recursion", "-C", tree, *names], check=True, capture_output=True
    ).stdout
    read = {entry.name.rstrip(b"/").decode(): (entry, content) for entry, content in contents(raw)}
    assert sorted(read) == names
    assert read["file"][1] == b"x" * 70_000
    assert read["hard"][0].kind is Kind.LINK
    assert read["hard"][0].link == b"file"
    assert read["file"][0].mtime_ns == (1_234_567_890_123_456_789 if form == "posix" else 1_234_567_890_000_000_000)
    if form not in ("v7", "ustar"):
        assert read["far"][0].link == b"t" * 150


@pytest.mark.parametrize("form", ["oldgnu", "gnu", "posix:0.0", "posix:0.1", "posix:1.0"])
def test_sparse_files_of_gnu_tar_are_understood(form: str, tmp_path: Path) -> None:
    expected = bytearray(9_000_000)
    with (tmp_path / "sparse").open("wb") as file:
        for index in range(40):
            file.seek(index * 200_000 + 4096)
            file.write(b"%04d" % index * 1024)
            expected[index * 200_000 + 4096 : index * 200_000 + 8192] = b"%04d" % index * 1024
        file.truncate(9_000_000)
    name, _, version = form.partition(":")
    extra = [f"--sparse-version={version}"] if version else []
    raw = subprocess.run(
        ["tar", f"--format={name}", *extra, "-S", "-c", "-C", tmp_path, "sparse"], check=True, capture_output=True
    ).stdout
    ((entry, content),) = contents(raw, 1000)
    assert entry.name == b"sparse"
    assert entry.size == 9_000_000
    assert content == expected
    assert len(raw) < 2_000_000


def test_gnu_tar_reads_our_sparse_files(tmp_path: Path) -> None:
    entry = Entry(name=b"s", size=3_000_000, sparse=((1_000_000, 512), (2_000_000, 3)))
    (tmp_path / "a.tar").write_bytes(archive((entry, b"h" * 512 + b"you")))
    subprocess.run(["tar", "-xf", "a.tar"], check=True, cwd=tmp_path)
    expected = bytearray(3_000_000)
    expected[1_000_000:1_000_512], expected[2_000_000:2_000_003] = b"h" * 512, b"you"
    assert (tmp_path / "s").read_bytes() == expected


def test_xattrs_of_gnu_tar_are_understood(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    os.setxattr(tmp_path / "file", "user.bytes", b"\x00\xff\n=")
    command = ["tar", "--format=posix", "--xattrs", "-c", "-C", str(tmp_path), "file"]
    ((entry, _),) = contents(subprocess.run(command, check=True, capture_output=True).stdout)
    assert dict(entry.xattrs) == {b"user.bytes": b"\x00\xff\n="}


def test_an_archive_without_its_end_blocks_is_whole() -> None:
    raw = archive((Entry(name=b"a", size=3), b"abc"))
    assert [entry.name for entry, _ in contents(raw[:-1024])] == [b"a"]
    assert [entry.name for entry, _ in contents(raw[:-512])] == [b"a"]


def test_an_archive_that_ends_with_its_last_entrys_content_is_whole() -> None:
    raw = archive((Entry(name=b"a", size=3), b"abc"))
    for end in (515, 516):
        assert [(entry.name, data) for entry, data in contents(raw[:end])] == [(b"a", b"abc")]
        assert [entry.name for entry in Reader([raw[:end]])] == [b"a"]
    with pytest.raises(InvalidArgument, match="ends in the middle"):
        list(Reader([raw[:514]]))


def test_what_follows_the_end_is_drained_and_not_read_as_entries() -> None:
    raw = archive((Entry(name=b"a"), b"")) + archive((Entry(name=b"b"), b""))
    reader = Reader(chunked(raw, 700))
    assert [entry.name for entry in reader] == [b"a"]
    reader.drain()
    assert reader.position == len(raw)


def test_a_global_header_is_not_applied() -> None:
    raw = extended(b"".join([pax.record(b"path", b"evil"), pax.record(b"uid", b"7")]), b"g") + block(b"good") + ZEROS
    ((entry, _),) = contents(raw)
    assert (entry.name, entry.uid) == (b"good", 0)


def test_a_links_size_says_nothing() -> None:
    raw = block(b"l", b"1", 4096, b"t") + block(b"next") + ZEROS
    assert [entry.name for entry, _ in contents(raw)] == [b"l", b"next"]


HOSTILE = {
    "a wrong checksum": b"\x01" * 512,
    "a truncated header": block(b"a")[:300],
    "a truncated file": block(b"a", size=1000) + b"x" * 100,
    "an entry after a block of zeros": block(b"a") + bytes(512) + block(b"b"),
    "an unknown type": block(b"a", b"Z"),
    "a PAX record without a length": extended(b"path=a\n") + block(b"a"),
    "a PAX record that is too long": extended(b"99 path=a\n") + block(b"a"),
    "a PAX record of length zero": extended(b"0 path=a\n") + block(b"a"),
    "a PAX record without =": extended(b"8 patha\n") + block(b"a"),
    "a NUL in a PAX path": extended(pax.record(b"path", b"a\0b")) + block(b"a"),
    "a negative PAX size": extended(pax.record(b"size", b"-1")) + block(b"a"),
    "a size beyond every disk": extended(pax.record(b"size", b"9" * 18)) + block(b"a"),
    "a uid that wraps": extended(pax.record(b"uid", b"4294967296")) + block(b"a"),
    "the uid that chown ignores": extended(pax.record(b"uid", b"4294967295")) + block(b"a"),
    "a negative uid": extended(pax.record(b"gid", b"-1")) + block(b"a"),
    "a time that is no number": extended(pax.record(b"mtime", b"1e9")) + block(b"a"),
    "a time out of range": extended(pax.record(b"mtime", b"9" * 19)) + block(b"a"),
    "an extended header at the end": extended(pax.record(b"path", b"a")) + ZEROS,
    "an extended header that is too long": block(b"x", b"x", 2 << 20) + bytes(2 << 20),
    "a GNU long name that is too long": block(b"x", b"L", 2 << 20) + bytes(2 << 20),
    "an overlapping sparse map": extended(
        pax.record(b"GNU.sparse.map", b"0,10,5,10") + pax.record(b"GNU.sparse.size", b"100")
    ) + block(b"a", size=20) + bytes(512),
    "a sparse map beyond its file": extended(
        pax.record(b"GNU.sparse.map", b"90,20") + pax.record(b"GNU.sparse.size", b"100")
    ) + block(b"a", size=20) + bytes(512),
    "a sparse map with less than the data": extended(
        pax.record(b"GNU.sparse.map", b"0,1") + pax.record(b"GNU.sparse.size", b"100")
    ) + block(b"a", size=20) + bytes(512),
    "a sparse map that never ends": extended(
        pax.record(b"GNU.sparse.major", b"1") + pax.record(b"GNU.sparse.minor", b"0")
    ) + block(b"a", size=8 << 20) + b"99999999\n" + b"1\n" * (4 << 20),
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_archive_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidArgument) as caught:
        contents(raw)
    assert caught.value.reason == "BAD_ARCHIVE"


def test_entries_are_counted() -> None:
    with pytest.raises(InvalidArgument, match="more than 10 entries"):
        contents(block(b"a") * 11, limits=Limits(entries=10))


def test_34_a_sparse_entry_of_ten_gibibytes_costs_no_memory() -> None:
    raw = archive((Entry(name=b"big", size=10 << 30, sparse=((9 << 30, 4),)), b"data"))
    tracemalloc.start()
    try:
        reader = Reader([raw])
        (parts,) = [[(offset, bytes(part)) for offset, part in reader.data()] for _ in reader]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert parts == [(9 << 30, b"data")]
    assert peak < 1 << 20


def test_34_many_pax_records_take_linear_time() -> None:
    def seconds(count: int) -> float:
        body = b"".join(pax.record(b"SCHILY.xattr.user.%06d" % index, b"v") for index in range(count))
        raw = extended(body) + block(b"a") + ZEROS
        best = 1e9
        for _ in range(3):
            start = time.process_time()
            contents(raw)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(16_000) < 16 * max(seconds(2_000), 0.0005)


@given(st.lists(entries(), min_size=1, max_size=3), st.data())
@settings(max_examples=300)
def test_a_damaged_archive_is_read_or_refused_but_never_crashes(
    members: list[tuple[Entry, bytes]], data: st.DataObject
) -> None:
    raw = bytearray(archive(*members))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        # A right checksum takes the damage further in.
        raw[148:156] = b"%06o\0 " % tar_header.checksum(raw[:512])
    del raw[data.draw(st.integers(0, len(raw))) :]
    with contextlib.suppress(InvalidArgument):
        for entry, _ in contents(bytes(raw), data.draw(st.integers(1, 2000)), Limits(entry_bytes=1 << 24)):
            with contextlib.suppress(InvalidArgument):
                assert b".." not in clean_name(entry.name).split(b"/")


@given(st.binary(max_size=3000))
def test_random_bytes_are_no_archive_or_an_empty_one(raw: bytes) -> None:
    with contextlib.suppress(InvalidArgument):
        assert contents(raw) == []


@pytest.mark.parametrize("name, clean", [
    (b"a", b"a"), (b"./a", b"a"), (b"/a", b"a"), (b"a/", b"a"), (b"a//b", b"a/b"), (b"a/../b", b"b"), (b".", b""),
    (b"./", b""), (b"/", b""), (b"a/..", b""), (b"...", b"..."), (b"a/.b/c..", b"a/.b/c.."),
])
def test_a_name_is_cleaned_lexically(name: bytes, clean: bytes) -> None:
    assert clean_name(name) == clean


@pytest.mark.parametrize("name", [b"..", b"../a", b"a/../../b", b"/..", b"./../x", b"a\0b", b"a/" * 2049 + b"b"])
def test_21_a_name_that_leaves_the_root_is_refused(name: bytes) -> None:
    with pytest.raises(InvalidArgument):
        clean_name(name)


@given(st.lists(st.sampled_from([b"..", b".", b"", b"a", b"b..", b"..c"]), max_size=8).map(b"/".join))
def test_21_a_clean_name_never_climbs(name: bytes) -> None:
    with contextlib.suppress(InvalidArgument):
        parts = clean_name(name).split(b"/")
        assert parts == [b""] or not {b"", b".", b".."} & set(parts)


@given(st.integers(-(2**80), 2**80))
def test_pax_times_are_exact(time_ns: int) -> None:
    try:
        assert pax.nanoseconds(pax.time(time_ns)) == time_ns
    except InvalidArgument:
        assert abs(time_ns) > 2**55 * 10**9


@given(st.binary(min_size=1, max_size=30).filter(lambda raw: b"=" not in raw and b"\0" not in raw), st.binary())
def test_pax_records_round_trip(key: bytes, value: bytes) -> None:
    key = b"k." + key
    assert pax.parse(pax.record(key, value)) == {key: value}
