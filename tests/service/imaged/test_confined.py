"""What imaged's helpers do when they stand in a stranger's root file system, and who may look into imaged's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.busybox_image import docker_archive
from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from tests.images import Entry, Image, layer, symlink
from tests.service.imaged.served import NAMESPACE, Served, children, owner
from tests.traced import by_process, traced

CALLS = "openat,openat2,open,execve,execveat,connect,mount,fsconfig,prctl"
LIBRARIES = ("libnss_files.so.2", "libnss_compat.so.2", "libnss_hostile.so.2", "libc.so.6", "libgcc_s.so.1")


def hostile() -> Image:
    """A root file system that has a name service of its own, and Python modules."""
    places = ("lib", "lib64", "usr/lib", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu")
    files = [Entry(f"{place}/{name}", data=b"\x7fELF trap", mode=0o755) for place in places for name in LIBRARIES]
    modules = [Entry(f"{name}.py", data=b"raise SystemExit('trap')") for name in ("pwd", "encodings", "stringprep")]
    return Image([layer([
        *files, *modules, Entry("etc/nsswitch.conf", data=b"passwd: hostile files\ngroup: hostile files\n"),
        Entry("etc/ld.so.preload", data=b"/lib/libnss_hostile.so.2\n"),
        Entry("etc/passwd", data=b"me:x:11:12::/:\n"), Entry("etc/group", data=b"us:x:13:me\n"),
        symlink("up", "../../../.."), Entry("data/file", data=b"x"),
    ])])


async def remove_volume(served: Served, name: str) -> None:
    await served.call(rpc.VolumeServiceStub, "RemoveVolume", pb.RemoveVolumeRequest(namespace=NAMESPACE, name=name))


async def everything(served: Served) -> None:
    """Each helper, and a worker, at work in the hostile root."""
    await served.load(docker_archive({"trap:1": hostile()}))
    await served.prepare("from", "trap:1")
    await served.prepare("to", "trap:1")
    await served.copy("from", "to", b"/data/file", target=b"/copied/", chown="me:us")
    await served.make_directory("to", b"/made", chown="me")
    await served.hash("to", b"/")
    await served.tar_of("Export", pb.ExportRequest(key="to"))
    await served.tar_of("Diff", pb.DiffRequest(upper="to"))
    await served.call(rpc.VolumeServiceStub, "CreateVolume", pb.CreateVolumeRequest(name="trapped", owner=owner("to")))
    await served.call(rpc.VolumeServiceStub, "FillVolume", pb.FillVolumeRequest(
        namespace=NAMESPACE, name="trapped", snapshot="to", path=b"/"))
    await served.call(rpc.ImageServiceStub, "Commit", pb.CommitRequest(snapshot="to", namespace=NAMESPACE))
    await served.commit("to", "done")
    await remove_volume(served, "trapped")


async def test_23_80_helpers_load_nothing_of_a_stranger_and_mount_no_upper_directory(
    snapshots: Served, tmp_path: Path
) -> None:
    """CVE-2019-14271: what a tar helper loads after it has changed its root is the container's. And a reader beside a
    running container must not be a second overlay over its upper directory."""
    log = tmp_path / "strace"
    with traced(children(snapshots.pid), CALLS, log):
        await everything(snapshots)
    processes = by_process(log)
    confined = [calls for calls in processes.values() if any("PR_SET_NO_NEW_PRIVS" in call for call in calls)]
    assert len(confined) >= 8, "the helpers were not seen"
    trap = re.compile(r'"[^"]*(\.so[.\d]*|\.py|nsswitch\.conf|ld\.so\.preload)"')
    for calls in confined:
        after = calls[next(index for index, call in enumerate(calls) if "PR_SET_NO_NEW_PRIVS" in call):]
        for call in after:
            assert not call.startswith(("execve", "connect")), call
            # Files of these names are made, and read for what is in them from their directories' descriptors.
            loads = call.startswith(("open(", "openat(AT_FDCWD")) and "O_CREAT" not in call
            assert not (loads and trap.search(call)), call
    mounts = [call for calls in processes.values() for call in calls if call.startswith(("mount(", "fsconfig("))]
    assert any("lowerdir" in call for call in mounts)
    uppers = [call for call in mounts if "upperdir" in call]
    assert uppers
    assert all('/upper.new"' in call for call in uppers), "a change is made in a copy of its own"


@pytest.mark.parametrize("uid", [1000, 100_000])
async def test_39_nobody_but_root_goes_into_imageds_directories(snapshots: Served, uid: int) -> None:
    """CVE-2021-21284: the root of a remapped namespace, or any user of the host's, is no owner of layers."""
    await snapshots.load(docker_archive({"kept:1": Image([layer([Entry("open", data=b"x", mode=0o666)])])}))
    snapshot = await snapshots.prepare("kept", "kept:1")
    volume = (await snapshots.call(rpc.VolumeServiceStub, "CreateVolume", pb.CreateVolumeRequest(
        name="kept", owner=owner("c")))).volume
    layers = list((snapshots.state / "l").iterdir())
    assert layers
    paths = [*layers, layers[0] / "open", os.fsdecode(snapshot.upper), os.fsdecode(volume.path),
             snapshots.state / "imaged.db", *(snapshots.state / "blobs" / "sha256").iterdir()]
    program = f"""
import os
os.setgroups([])
os.setresgid({uid}, {uid}, {uid})
os.setresuid({uid}, {uid}, {uid})
for path in {[str(path) for path in paths]!r}:
    for reach in (os.stat, os.listdir, lambda one: os.open(one, os.O_RDONLY), lambda one: os.chmod(one, 0o777)):
        try:
            reach(path)
        except PermissionError:
            continue
        raise SystemExit(f"{{path}} was reached")
"""
    run = subprocess.run(  # noqa: ASYNC221 - a short helper
        [sys.executable, "-I", "-c", program], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    filled = [one for one in snapshots.state.iterdir() if one.is_dir() and any(one.iterdir())]
    for directory in (snapshots.state, *filled):
        status = directory.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o077) == (0, 0, 0), directory
    await remove_volume(snapshots, "kept")
