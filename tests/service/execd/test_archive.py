"""Files in and out of a container by execd alone."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import stat
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import zstandard

from chassis.errors import Conflict, InvalidArgument, NotFound, PierError
from pier.exec.v1 import exec_pb2
from pier.types.v1 import types_pb2
from tests.engine import wait_until
from tests.service.execd.service import Execd
from tests.traced import by_process, traced


async def found(service: Execd, container: str, path: bytes) -> exec_pb2.PathStat:
    request = exec_pb2.StatPathRequest(id=container, path=path)
    answer: exec_pb2.StatPathResponse = await service.call("StatPath", request)
    return answer.stat


async def read(service: Execd, container: str, path: bytes) -> dict[str, tarfile.TarInfo]:
    request = exec_pb2.ReadArchiveRequest(id=container, path=path)
    data = b"".join([answer.data async for answer in service.peer.stream(service.containers.ReadArchive, request, 60)])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {entry.name: entry for entry in archive}


async def write(
    service: Execd, container: str, path: bytes, data: bytes, *, keep_kinds: bool = False, owned_by_user: bool = False
) -> None:
    async def messages() -> AsyncIterator[exec_pb2.WriteArchiveRequest]:
        yield exec_pb2.WriteArchiveRequest(
            id=container, path=path, keep_kinds=keep_kinds, owned_by_user=owned_by_user)
        for start in range(0, len(data), 100_000):
            yield exec_pb2.WriteArchiveRequest(data=data[start : start + 100_000])

    await service.peer.call(service.containers.WriteArchive, messages(), 60)


def tar(**files: bytes | None) -> bytes:
    """Files by their content; None makes a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.type, info.size = (tarfile.DIRTYPE, 0) if content is None else (tarfile.REGTYPE, len(content))
            info.mode = 0o755
            archive.addfile(info, io.BytesIO(content or b""))
    return out.getvalue()


async def test_a_path_is_told_as_lstat_tells_it(service: Execd) -> None:
    container = await service.create("/bin/sh")
    await write(service, container, b"/", tar(d=None))
    await write(service, container, b"/d", tar(f=b"12345"))
    status = await found(service, container, b"d/f")
    assert (status.name, status.size, stat.S_ISREG(status.mode), status.mode & 0o777) == (b"f", 5, True, 0o755)
    assert (await found(service, container, b"/")).name == b"/"
    assert (await found(service, container, b"/d/")).name == b"d"
    assert (await found(service, container, b"/d/.")).name == b"."
    for missing in (b"/nope", b"/nope/f", b"/d/../nope"):
        with pytest.raises(NotFound) as absent:
            await found(service, container, missing)
        assert absent.value.reason == "NO_SUCH_PATH"
    with pytest.raises(InvalidArgument) as wrong:
        await found(service, container, b"/d/f/g")
    assert wrong.value.reason == "NOT_A_DIRECTORY"


async def test_a_links_target_is_told_as_the_container_sees_it(service: Execd) -> None:
    links = "mkdir /d; ln -s ../d /d/up; ln -s nowhere /d/lost; ln -s /d/up /two"
    container = await service.run("/bin/sh", "-c", links)
    await service.wait(container)
    assert (await found(service, container, b"/d/up")).link_target == b"/d"
    assert (await found(service, container, b"/two")).link_target == b"/d"
    assert (await found(service, container, b"/d/lost")).link_target == b"/d/nowhere"
    assert set(await read(service, container, b"/two")) == {"two"}
    assert set(await read(service, container, b"/two/")) == {"two", "two/up", "two/lost"}


@pytest.mark.parametrize("compressed", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
async def test_archives_may_be_compressed(service: Execd, compressed: Callable[[bytes], bytes]) -> None:
    container = await service.create("/bin/sh")
    await write(service, container, b"/", compressed(tar(file=os.urandom(300_000))))
    assert (await found(service, container, b"/file")).size == 300_000


async def test_what_cannot_be_unpacked_is_refused_by_name(service: Execd) -> None:
    container = await service.create("/bin/sh")
    await write(service, container, b"/", tar(directory=None, file=b"x"))
    for path, data, keep_kinds, reason in (
        (b"/file", tar(a=b"a"), False, "NOT_A_DIRECTORY"), (b"/nope", tar(a=b"a"), False, "NO_SUCH_PATH"),
        (b"/", b"no archive at all" * 100, False, "BAD_ARCHIVE"),
        (b"/", tar(a=b"a" * 5000)[:2000], False, "BAD_ARCHIVE"),
        (b"/", tar(directory=b"x"), True, "OTHER_KIND"), (b"/", tar(file=None), True, "OTHER_KIND"),
        (b"/", tar(**{"../up": b"x"}), False, "BAD_ARCHIVE"),
    ):
        with pytest.raises(PierError) as refused:
            await write(service, container, path, data, keep_kinds=keep_kinds)
        assert refused.value.reason == reason, (path, reason, refused.value)
    await write(service, container, b"/", tar(directory=b"now a file"))
    assert stat.S_ISREG((await found(service, container, b"/directory")).mode)


async def test_names_that_hide_in_layers_are_names_here(service: Execd) -> None:
    container = await service.create("/bin/sh")
    await write(service, container, b"/", tar(**{"etc/.wh.passwd": b"x", "etc/.wh..wh..opq": b""}))
    assert {"etc/.wh.passwd", "etc/.wh..wh..opq"} <= set(await read(service, container, b"/etc"))


async def test_a_container_that_is_not_complete_has_no_files(service: Execd) -> None:
    container = await service.create("/bin/sh", complete=False)
    with pytest.raises(Conflict):
        await found(service, container, b"/")


async def test_22_25_a_swapped_path_never_leads_out(service: Execd, tmp_path: Path) -> None:
    """CVE-2018-15664, CVE-2026-41568, CVE-2026-42306: a link takes a directory's place while it is copied."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    target = str(outside).lstrip("/")
    swap = f"rm -rf /t; ln -s {'../' * 9}{target} /t; rm /t; mkdir /t; : > /t/mine"
    container = await service.run("/bin/sh", "-c", f"mkdir -p /{target}; while :; do {swap}; done")
    seen = set()
    for _ in range(25):
        for work in (write(service, container, b"/t", tar(planted=b"x")), read(service, container, b"/t/"),
                     read(service, container, b"/t/secret")):
            try:
                seen |= set(await work or ())
            except PierError:
                continue
    assert os.listdir(outside) == ["secret"]
    assert not any("secret" in name for name in seen)


async def test_23_nothing_of_the_containers_is_loaded_by_who_stands_in_it(service: Execd, tmp_path: Path) -> None:
    """CVE-2019-14271: a name service of the container's own is asked by nobody, whether it runs or not."""
    trap = b"\x7fELF trap"
    places = ("lib", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "usr/lib")
    traps = tar(**{f"{place}/{name}": trap for place in places for name in ("libnss_files.so.2", "libnss_trap.so.2")},
                **{"etc/nsswitch.conf": b"passwd: trap files\ngroup: trap files\n",
                   "etc/passwd": b"me:x:11:12::/:\n", "pwd.py": b"raise SystemExit('trap')"})
    stopped = await service.create("/bin/sh", user="me")
    running = await service.run("/bin/sh", "-c", "sleep 1000")
    for container in (stopped, running):
        await write(service, container, b"/", traps)
    log = tmp_path / "strace"
    assert service.process is not None
    with traced([service.process.pid], "open,openat,openat2,execve,connect,prctl", log):
        for container in (stopped, running):
            await read(service, container, b"/etc")
            await write(service, container, b"/", tar(file=b"x"), owned_by_user=True)
            await found(service, container, b"/etc/passwd")
    confined = [calls for calls in by_process(log).values() if any("PR_SET_NO_NEW_PRIVS" in call for call in calls)]
    assert len(confined) == 6
    for calls in confined:
        after = calls[next(index for index, call in enumerate(calls) if "PR_SET_NO_NEW_PRIVS" in call):]
        # What is copied is found from the root's descriptor, each part by openat2; a loader goes by paths.
        assert not [call for call in after if call.startswith(("execve", "connect", "open(", "openat(AT_FDCWD"))
                    and "O_CREAT" not in call and "O_DIRECTORY" not in call]


async def test_24_no_program_of_the_containers_is_run(service: Execd) -> None:
    """CVE-2026-41567: decompressors are not looked for in the container; nor are Python's modules."""
    trojan = b"#!/bin/sh\ntouch /pwned\n"
    container = await service.run("/bin/sh", "-c", "mkdir -p /usr/bin; sleep 1000")
    names = ("usr/bin/unpigz", "usr/bin/gzip", "usr/bin/zstd", "bin/tar")
    await write(service, container, b"/", tar(**dict.fromkeys(names, trojan)))
    for compressed in (gzip.compress, zstandard.compress):
        await write(service, container, b"/", compressed(tar(file=b"x")))
    with pytest.raises(NotFound):
        await found(service, container, b"/pwned")


async def test_80_a_start_waits_for_a_copy_and_a_killed_execd_leaves_no_copier(service: Execd) -> None:
    container = await service.create("/bin/true")
    await write(service, container, b"/", tar(big=bytes(32 << 20)))
    request = exec_pb2.ReadArchiveRequest(id=container, path=b"/big")
    stream = service.peer.stream(service.containers.ReadArchive, request)
    await anext(stream)
    starting = asyncio.create_task(service.begin(container))
    await asyncio.sleep(0.2)
    assert not starting.done(), "two overlays would share an upper directory"
    async for _ in stream:
        pass
    await starting
    await service.wait(container)
    request = exec_pb2.ReadArchiveRequest(id=container, path=b"/big")
    stream = service.peer.stream(service.containers.ReadArchive, request)
    await anext(stream)
    await stream.aclose()
    await service.kill()
    await asyncio.to_thread(wait_until, lambda: not copiers())
    await service.start()


def copiers() -> list[str]:
    found_ = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"/execd/archive/" in (entry / "cmdline").read_bytes():
                found_.append(entry.name)
        except OSError:
            continue
    return found_


async def test_binds_are_gone_through_and_kept_read_only(service: Execd, tmp_path: Path) -> None:
    (tmp_path / "bound").mkdir()
    (tmp_path / "bound/file").write_text("x")
    mount = types_pb2.MountSpec(type="bind", source=os.fsencode(tmp_path / "bound"), target=b"/b", recursive=True,
                                options=[types_pb2.MountOption(key="ro")])
    container = await service.create("/bin/sh", spec=exec_pb2.ContainerSpec(mounts=[mount]))
    assert (await found(service, container, b"/b/file")).size == 1
    with pytest.raises(InvalidArgument) as refused:
        await write(service, container, b"/b", tar(new=b"x"))
    assert refused.value.reason == "READ_ONLY"
    assert os.listdir(tmp_path / "bound") == ["file"]
