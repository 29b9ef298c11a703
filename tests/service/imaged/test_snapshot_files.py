"""Files hashed and copied between snapshots: the rules of COPY, ADD and WORKDIR, with hostile trees on both sides."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from pathlib import Path
from typing import Any

import pytest
import zstandard

from chassis.errors import InvalidArgument, NotFound
from pier.image.v1 import image_pb2 as pb
from tests.images import Entry, directory, layer, symlink
from tests.service.imaged.served import Served, inside
from tests.service.imaged.test_differences import deep

SHOWS = "find . -mindepth 1 -printf '%p %y %m %U:%G %l\\n' | sort"


async def trees(served: Served, source: str, target: str = "") -> pb.Snapshot:
    """The snapshots "from" and "to", with what two shell scripts make in them; the second."""
    inside(await served.prepare("from"), source)
    to = await served.prepare("to")
    if target:
        inside(to, target)
    return to


def listed(snapshot: pb.Snapshot, *, modes: bool = False) -> list[str]:
    lines = inside(snapshot, SHOWS).splitlines()
    return lines if modes else [line.split(" ")[0].removeprefix("./") for line in lines]


CONTEXT = """
umask 022; mkdir -p src/sub doc; echo a > src/a.c; echo b > src/b.o; echo c > src/sub/c.c; echo r > README.md
echo x > 'odd[1].txt'; ln -s src link; ln -s a.c src/tolink; ln -s /nowhere dangling
"""


@pytest.mark.parametrize(("sources", "target", "expected"), [
    ([b"README.md"], b"/readme", ["readme"]),
    ([b"/README.md"], b"/to/", ["to", "to/README.md"]),
    ([b"README.md"], b"/a/b/c", ["a", "a/b", "a/b/c"]),
    ([b"src"], b"/to", ["to", "to/a.c", "to/b.o", "to/sub", "to/sub/c.c", "to/tolink"]),
    ([b"src/"], b"/to/", ["to", "to/a.c", "to/b.o", "to/sub", "to/sub/c.c", "to/tolink"]),
    ([b"link"], b"/to", ["to", "to/a.c", "to/b.o", "to/sub", "to/sub/c.c", "to/tolink"]),
    ([b"src/tolink"], b"/to/", ["to", "to/tolink"]),
    ([b"src/*.c"], b"/to/", ["to", "to/a.c"]),
    ([b"*/*.[ab-z]"], b"/to/", ["to", "to/a.c", "to/b.o"]),
    ([b"s?c/sub"], b"/", ["c.c"]),
    ([b"README.md", b"src"], b"/to/", ["to", "to/README.md", "to/a.c", "to/b.o", "to/sub", "to/sub/c.c", "to/tolink"]),
    ([b"README.md", b"missing*"], b"/to/", ["to", "to/README.md"]),
    ([b"odd[[]1].txt"], b"/", ["odd[1].txt"]),
    ([b"src/../src/./a.c"], b"/", ["a.c"]),
    ([b"../../../../README.md"], b"/", ["README.md"]),
])
async def test_sources_and_targets_are_docker_s(
    snapshots: Served, sources: list[bytes], target: bytes, expected: list[str]
) -> None:
    to = await trees(snapshots, CONTEXT)
    await snapshots.copy("from", "to", *sources, target=target)
    assert listed(to) == expected


@pytest.mark.parametrize(("sources", "fields", "expected"), [
    ([b"src"], {"exclude": [b"*.o", b"sub"]}, ["a.c", "tolink"]),
    ([b"src"], {"exclude": [b"**/*.c", b"!sub/c.c"]}, ["b.o", "sub", "sub/c.c", "tolink"]),
    ([b"src"], {"exclude": [b"*", b"!sub/*"]}, ["sub", "sub/c.c"]),
    ([b"*.md", b"src/*"], {"exclude": [b"*.md", b"a.*"], "target": b"/"}, ["b.o", "c.c", "tolink"]),
    ([b"odd[1].txt"], {"literal": True}, ["odd[1].txt"]),
    ([b"src/sub/c.c", b"README.md"], {"parents": True}, ["README.md", "src", "src/sub", "src/sub/c.c"]),
    ([b"src/./sub"], {"parents": True}, ["sub", "sub/c.c"]),
    ([b"./**/*.c"], {"parents": True}, ["src", "src/a.c", "src/sub", "src/sub/c.c"]),
    ([b"src"], {"parents": True, "exclude": [b"src/sub", b"**/*.o"]}, ["src", "src/a.c", "src/tolink"]),
])
async def test_what_is_chosen_of_sources(
    snapshots: Served, sources: list[bytes], fields: dict[str, Any], expected: list[str]
) -> None:
    to = await trees(snapshots, CONTEXT)
    await snapshots.copy("from", "to", *sources, **fields)
    assert listed(to) == expected


async def test_everything_of_a_file_comes_along(snapshots: Served) -> None:
    to = await trees(snapshots, """
        mkdir d; echo one > d/one; ln d/one d/two; mkfifo d/pipe; mknod d/null c 1 3
        truncate -s 5M d/sparse; printf x | dd of=d/sparse bs=1 seek=4000000 conv=notrunc 2>/dev/null
        head -c 3000000 /dev/urandom > d/big; ln -s ../../etc/passwd d/link; chmod 700 d
        chown 5:6 d/one; chmod 4751 d/one
        python3 -c 'import os, socket; os.setxattr("d/one", "user.mine", b"1")
os.setxattr("d/big", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
socket.socket(socket.AF_UNIX).bind("d/socket")
os.mkdir(b"d/\\xff\\xfe"); open(b"d/\\xff\\xfe/\\x01", "w").close()'
        touch -h -d @1.000000007 d/link; touch -d @12345.678901234 d/one; mkdir d/e; touch -d @77.25 d/e
    """)
    assert await snapshots.copy("from", "to", b"d", target=b"/t") == 8
    shows = """cd $(test -d t && echo t || echo d)
        find . -mindepth 1 ! -type s -printf '%p %y %m %n %s %T@ %l\\n' | sort
        sha256sum big sparse; getfattr -d -m - big one 2>/dev/null | grep = || true"""
    assert inside(to, shows) == inside(await snapshots.view("v", snapshot=await committed(snapshots, "from")), shows)
    assert inside(to, "stat -c '%U %G %a' t t/one t/link").splitlines() == [
        "root root 755", "root root 4751", "root root 777"]
    assert int(inside(to, "stat -c %b t/sparse")) * 512 < 100_000
    upper = Path(os.fsdecode(to.upper)) / "t"
    assert (upper / "one").stat().st_ino == (upper / "two").stat().st_ino
    assert os.getxattr(upper / "one", "user.mine") == b"1"
    assert os.getxattr(upper / "big", "security.capability")


async def committed(served: Served, key: str) -> str:
    await served.commit(key, f"{key}-committed")
    return f"{key}-committed"


async def test_owners_and_modes_are_what_was_asked_for(snapshots: Served) -> None:
    to = await trees(snapshots, CONTEXT, """
        mkdir etc; echo 'root:x:0:0::/:
web:x:33:34::/:' > etc/passwd; echo 'adm:x:4:' > etc/group""")
    for chown, expected in (
        ("", "0:0"), ("web", "33:34"), ("7", "7:7"), ("web:adm", "33:4"), ("9:adm", "9:4"), (":adm", "0:4"),
        ("web:", "33:34"), ("2147483647:1", "2147483647:1"),
    ):
        await snapshots.copy("from", "to", b"src", target=b"/made/" + chown.encode().hex().encode() + b"/", chown=chown)
        shown = inside(to, f"find made/{chown.encode().hex()} -printf '%U:%G\\n' | sort -u").split()
        assert shown == [expected], chown
    await snapshots.copy("from", "to", b"src", target=b"/modes/", chmod=0o640)
    modes = {line.split()[2] for line in listed(to, modes=True) if line.startswith("./modes/") and " l " not in line}
    assert modes == {"640"}


@pytest.mark.parametrize("chown", ["nobody-here", "root:nobody", "4294967296", "2147483648", "-1", "+1", "1e3", " 1"])
async def test_30_an_owner_that_is_none_is_refused_with_its_field(snapshots: Served, chown: str) -> None:
    await trees(snapshots, "echo x > x", "mkdir etc; echo root:x:0:0::/: > etc/passwd")
    with pytest.raises(InvalidArgument) as refused:
        await snapshots.copy("from", "to", b"x", chown=chown)
    assert refused.value.field == "chown"


@pytest.mark.parametrize("trap", [
    "mkfifo etc/passwd", "ln -s /dev/zero etc/passwd", "truncate -s 1G etc/passwd",
    "ln -s ../../../../../../../../etc/passwd etc/passwd", "ln -s passwd etc/passwd",
])
async def test_31_a_passwd_file_that_is_a_trap_harms_nobody(snapshots: Served, trap: str) -> None:
    await trees(snapshots, "echo x > x", f"mkdir etc; {trap}")
    with pytest.raises(InvalidArgument):
        await snapshots.copy("from", "to", b"x", chown="daemon")


async def test_targets_of_the_image_are_followed_within_it(snapshots: Served) -> None:
    to = await trees(snapshots, CONTEXT, """
        mkdir -p real/in; ln -s /real abs; ln -s ../../../../../../../real/in up; ln -s /real/new fresh
        mkdir there; echo old > there/README.md; ln -s /real/in there/sub; echo x > file""")
    await snapshots.copy("from", "to", b"README.md", target=b"/abs/")
    await snapshots.copy("from", "to", b"README.md", target=b"/up/../second")
    await snapshots.copy("from", "to", b"README.md", target=b"/fresh")
    await snapshots.copy("from", "to", b"README.md", target=b"/there")
    assert inside(to, "cat real/README.md real/second real/new there/README.md; readlink fresh").split() == [
        "r", "r", "r", "r", "/real/new"]
    for sources, target, message in (
        ([b"src"], b"/there", "cannot copy to non-directory: /there/sub"), ([b"src"], b"/file", "not a directory"),
        ([b"README.md"], b"/file/x", "not a directory"),
        ([b"src/*.c", b"README.md"], b"/none", "more than one source file"),
    ):
        with pytest.raises(InvalidArgument, match=message) as refused:
            await snapshots.copy("from", "to", *sources, target=target)
        assert refused.value.field == "target"
    before = listed(to, modes=True)
    inside(await snapshots.prepare("other"), "echo x > real; echo y > aaa")
    with pytest.raises(InvalidArgument, match="cannot replace to directory /real with file"):
        await snapshots.copy("other", "to", b"aaa", b"real", target=b"/")
    assert listed(to, modes=True) == before


async def test_a_link_copy_replaces_what_is_in_the_way(snapshots: Served) -> None:
    to = await trees(snapshots, CONTEXT, "mkdir -p real b.o; ln -s /real dir; echo x > file")
    await snapshots.copy("from", "to", b"src", target=b"/dir/", link=True)
    await snapshots.copy("from", "to", b"README.md", target=b"/file/x/", link=True)
    await snapshots.copy("from", "to", b"src/b.o", target=b"/", link=True)
    assert inside(to, "cat dir/a.c file/x/README.md b.o; ls real; stat -c %F dir").splitlines() == [
        "a", "r", "b", "directory"]


async def test_21_no_source_and_no_target_leaves_its_tree(snapshots: Served, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "secret").write_text("secret")
    to = await trees(snapshots, f"""
        ln -s {canary} abs; ln -s ../../../../../../../../../..{canary} up; ln -s {canary}/secret file; ln -s / root
        mkdir d; ln -s {canary} d/in""", f"ln -s {canary} out; ln -s ../../../../../..{canary} up; ln -s loop loop")
    for source in (b"abs", b"up", b"file", b"abs/secret", b"up/*", b"d/in/secret",
                   b"root/../../.." + os.fsencode(canary), os.fsencode(canary), b"root/proc/self/cwd"):
        with pytest.raises(NotFound) as missing:
            await snapshots.copy("from", "to", source)
        assert missing.value.reason == "NO_SUCH_FILE"
    await snapshots.copy("from", "to", b"d", target=b"/out/x/")
    await snapshots.copy("from", "to", b"d", target=b"/up/../y/")
    with pytest.raises(InvalidArgument, match="too many levels"):
        await snapshots.copy("from", "to", b"d", target=b"/loop/x")
    assert sorted(path.name for path in canary.iterdir()) == ["secret"]
    assert inside(to, "find . -name secret") == ""


async def test_what_is_not_there_is_said_as_docker_says_it(snapshots: Served) -> None:
    await trees(snapshots, CONTEXT)
    for call in (snapshots.copy("from", "to", b"src/x"), snapshots.hash("from", b"src/x")):
        with pytest.raises(NotFound, match=r"^lstat /src/x: no such file or directory$") as missing:
            await call
        assert (missing.value.reason, missing.value.field) == ("NO_SUCH_FILE", "files.sources")
    with pytest.raises(NotFound, match="no source files were specified"):
        await snapshots.copy("from", "to", b"*.nothing")
    with pytest.raises(NotFound, match="lstat /dangling"):
        await snapshots.copy("from", "to", b"dangl*")
    for field, fields in (
        ("files.sources", {"sources": []}), ("target", {"target": b"rel"}), ("files.exclude", {"exclude": [b"["]}),
        ("files.sources", {"sources": [b"[a"]}), ("chmod", {"chmod": 0o10000}),
        ("files.sources", {"sources": [b"a\0"]}),
    ):
        with pytest.raises(InvalidArgument) as refused:
            await snapshots.copy("from", "to", *fields.pop("sources", [b"src"]), **fields)  # type: ignore[misc]
        assert refused.value.field == field
    with pytest.raises(NotFound) as unknown:
        await snapshots.copy("nobody", "to", b"src")
    assert unknown.value.field == "files.snapshot"
    with pytest.raises(NotFound) as gone:
        await snapshots.copy("from", "nobody", b"src")
    assert gone.value.field == "key"


TAR = layer([directory("in"), Entry("in/file", data=b"content", uid=3), symlink("out", "/canary"),
             Entry("out2", data=b"x")])
ARCHIVES = {
    "plain": TAR, "gzip": gzip.compress(TAR), "bzip2": bz2.compress(TAR), "xz": lzma.compress(TAR),
    "zstd": zstandard.compress(TAR), "two.xz": lzma.compress(TAR[:1000]) + bytes(4) + lzma.compress(TAR[1000:]),
}


async def test_24_archives_are_unpacked_by_what_they_are_and_by_nobodys_programs(snapshots: Served) -> None:
    to = await trees(snapshots, "echo text > text; gzip -k text; : > empty", """
        mkdir -p usr/bin; for name in xz gzip unpigz bzip2 zstd tar; do
            printf '#!/bin/sh\\ntouch /tmp/trojan-ran' > usr/bin/$name; chmod 755 usr/bin/$name; done""")
    context = await snapshots.snapshot("from")
    for name, raw in ARCHIVES.items():
        (Path(os.fsdecode(context.upper)) / name).write_bytes(raw)
        await snapshots.copy("from", "to", name.encode(), target=b"/" + name.encode(), unpack=True, chown="7")
        assert inside(to, f"cat {name}/in/file; stat -c %u {name} {name}/in/file").split() == ["content7", "3"], name
    await snapshots.copy("from", "to", b"text", b"text.gz", b"empty", target=b"/plainly/", unpack=True)
    await snapshots.copy("from", "to", b"gzip", target=b"/copied/")
    assert inside(to, "ls plainly copied; cat plainly/text").split() == [
        "copied:", "gzip", "plainly:", "empty", "text", "text.gz", "text"]
    assert not Path("/tmp/trojan-ran").exists()


async def test_21_an_archive_that_climbs_is_refused_whole(snapshots: Served) -> None:
    to = await trees(snapshots, "true", "mkdir there; echo x > there/x")
    context = await snapshots.snapshot("from")
    bad = layer([Entry("good", data=b"1"), symlink("esc", "/there"), Entry("../../up", data=b"1")])
    (Path(os.fsdecode(context.upper)) / "bad.tar").write_bytes(bad)
    with pytest.raises(InvalidArgument, match="leaves the root"):
        await snapshots.copy("from", "to", b"bad.tar", target=b"/new/", unpack=True)
    (Path(os.fsdecode(context.upper)) / "cut.tar.xz").write_bytes(lzma.compress(TAR * 50)[:-40])
    with pytest.raises(InvalidArgument, match="xz"):
        await snapshots.copy("from", "to", b"cut.tar.xz", target=b"/new/", unpack=True)
    assert listed(to) == ["there", "there/x"]


async def test_a_hash_is_of_what_a_copy_would_give_and_of_nothing_else(snapshots: Served) -> None:
    await trees(snapshots, CONTEXT)
    first = await snapshots.hash("from", b"src", b"README.md")
    assert first.found == [b"/README.md", b"/src"]
    assert first.digest.startswith("sha256:")
    inside(await snapshots.prepare("again"), f"{CONTEXT} touch -d @5 src/a.c src; echo other > doc/other")
    assert (await snapshots.hash("again", b"src", b"README.md")).digest == first.digest
    await snapshots.commit("again", "committed")
    assert (await snapshots.hash("committed", b"src", b"README.md")).digest == first.digest
    inside(await snapshots.prepare("over", snapshot="committed"), "true")
    for number, change in enumerate((
        "chmod 600 src/a.c", "chown 1 src/a.c", "echo A > src/a.c", "mv src/a.c src/A.c", "rm src/sub/c.c",
        "ln -sf b.o src/tolink", "chmod 700 src/sub", "mkdir src/new",
        """python3 -c 'import os; os.setxattr("src/a.c", "user.x", b"1")'""", "echo rr > README.md",
    )):
        key = f"change{number}"
        inside(await snapshots.prepare(key, snapshot="committed"), change)
        assert (await snapshots.hash(key, b"src", b"README.md")).digest != first.digest, change
    wild = await snapshots.hash("from", b"*.md")
    assert wild.digest == (await snapshots.hash("from", b"README.md")).digest
    assert (await snapshots.hash("from", b"src", exclude=[b"*.o"])).digest != first.digest


async def test_directories_are_made_with_those_above_them(snapshots: Served) -> None:
    await trees(snapshots, "true")
    to = await snapshots.snapshot("to")
    inside(to, "mkdir -m 700 real etc; ln -s /real link; echo w:x:5:6::/: > etc/passwd; echo f > file")
    assert await snapshots.make_directory("to", b"/link/a/../b/c", "w")
    assert not await snapshots.make_directory("to", b"/real/b", "0")
    assert not await snapshots.make_directory("to", b"/")
    assert listed(to, modes=True) == [
        "./etc d 700 0:0 ", "./etc/passwd f 644 0:0 ", "./file f 644 0:0 ", "./link l 777 0:0 /real",
        "./real d 700 0:0 ", "./real/b d 755 5:6 ", "./real/b/c d 755 5:6 "]
    with pytest.raises(InvalidArgument, match="mkdir /file: not a directory"):
        await snapshots.make_directory("to", b"/file/x")


async def test_what_is_copied_lies_over_an_images_files(snapshots: Served) -> None:
    await trees(snapshots, CONTEXT, "mkdir -p app/src/sub; echo old > app/src/a.c; echo keep > app/src/keep")
    await snapshots.commit("to", "base")
    over = await snapshots.prepare("over", snapshot="base")
    await snapshots.copy("from", "over", b"src", target=b"/app/src")
    await snapshots.copy("from", "over", b"README.md", target=b"/app/src/sub/")
    assert inside(over, "cd app/src; cat a.c keep sub/c.c sub/README.md").split() == ["a", "keep", "c", "r"]
    await snapshots.commit("over", "made")
    assert inside(await snapshots.view("v", snapshot="made"), "cat app/src/a.c app/src/keep").split() == ["a", "keep"]


async def test_a_very_long_request_is_carried_out(snapshots: Served) -> None:
    to = await trees(snapshots, CONTEXT)
    exclude = [b"x%d" % number + b"y" * 100 for number in range(3000)]
    await snapshots.copy("from", "to", b"src", exclude=[*exclude, b"*.o"])
    assert listed(to) == ["a.c", "sub", "sub/c.c", "tolink"]


async def test_trees_deeper_than_any_path_are_refused_and_not_cut(snapshots: Served) -> None:
    to = await trees(snapshots, "true")
    deep(Path(os.fsdecode((await snapshots.snapshot("from")).upper)), 60)
    for call in (snapshots.copy("from", "to", b"/"), snapshots.hash("from", b"*")):
        with pytest.raises(InvalidArgument, match="4096"):
            await call
    assert listed(to) == []
