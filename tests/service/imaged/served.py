"""A real imaged process for tests, driven over gRPC."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis import kernel, stages
from chassis.client import Peer
from chassis.errors import Unavailable
from chassis.instance import instance
from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from pier.system.v1 import system_pb2, system_pb2_grpc
from pier.types.v1 import types_pb2

NAMESPACE = "docker"
_CHUNK = 256 << 10
LAYERED = {
    # what images.layered() has below /data
    "data/kept": b"first", "data/changed": b"third", "data/opaque/new": b"third", "data/back": b"fourth",
    "data/linked": b"first",
}


class Served:
    """imaged of instance ``itest`` below a directory. ``start`` may arm a fault; after a death, ``start`` again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.instance = instance("itest", directory / "root", directory / "run")
        self.state = self.instance.state("imaged")
        self._process: subprocess.Popen[bytes] | None = None
        self._peer: Peer | None = None

    async def start(self, fault: str = "", **settings: object) -> None:
        environment = {
            **os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PIER_FAULT": fault}
        command = [
            sys.executable, "-m", "imaged", "--instance", "itest", "--root", str(self.directory / "root"),
            "--run", str(self.directory / "run"), "--metrics-port", "0", "--log-level", "debug",
        ]
        for key, value in settings.items():
            command += [f"--{key.replace('_', '-')}", str(value)]
        with (self.directory / "log").open("ab") as log:
            self._process = await asyncio.to_thread(
                subprocess.Popen, command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.connect()
        assert self._peer is not None
        health = health_pb2_grpc.HealthStub(self._peer.channel)
        async with asyncio.timeout(60):
            while True:
                assert self._process.poll() is None, self.log()[-3000:]
                try:
                    answer = await self._peer.call(health.Check, health_pb2.HealthCheckRequest(), timeout=5)
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
                except Unavailable:
                    await asyncio.sleep(0.01)  # its socket is not there yet, and no event tells of it

    def connect(self) -> None:
        """A channel of this event loop's; ``disconnect`` ends it."""
        self._peer = Peer("imaged", self.instance.socket("imaged"))

    async def disconnect(self) -> None:
        if self._peer is not None:
            await self._peer.close()
            self._peer = None

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def peer(self) -> Peer:
        assert self._peer is not None
        return self._peer

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """End it; its exit status, negative for a signal."""
        await self.disconnect()
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(number)
        status = await asyncio.to_thread(self._process.wait, 60)
        self._process = None
        return status

    # -- calls ------------------------------------------------------------------------------------------------------

    async def call(self, stub: Any, name: str, request: Any, timeout: float = 60) -> Any:
        return await self.peer.call(getattr(stub(self.peer.channel), name), request, timeout)

    async def pull(self, reference: str, **fields: Any) -> list[pb.PullResponse]:
        request = pb.PullRequest(namespace=NAMESPACE, reference=reference, **fields)
        return [one async for one in self.peer.stream(rpc.ImageServiceStub(self.peer.channel).Pull, request, 60)]

    async def pulled(self, reference: str, **fields: Any) -> pb.Image:
        return (await self.pull(reference, **fields))[-1].end.image

    async def load(self, raw: bytes) -> list[pb.Image]:
        stub = rpc.ImageServiceStub(self.peer.channel)
        answers = [one async for one in self.peer.stream(stub.Load, load_requests(raw), 60)]
        return [one.image for one in answers if one.WhichOneof("event") == "image"]

    async def import_(self, raw: bytes, **options: Any) -> pb.Image:
        given = pb.ImportOptions(namespace=NAMESPACE, **options)
        answer = await self.call(rpc.ImageServiceStub, "Import", _import_requests(given, raw))
        return answer.image  # type: ignore[no-any-return]

    async def image(self, name: str) -> pb.Image:
        request = pb.GetImageRequest(namespace=NAMESPACE, image=name)
        return (await self.call(rpc.ImageServiceStub, "GetImage", request)).image  # type: ignore[no-any-return]

    async def images(self) -> list[pb.Image]:
        answer = await self.call(rpc.ImageServiceStub, "ListImages", pb.ListImagesRequest(namespace=NAMESPACE))
        return list(answer.images)

    async def remove(self, name: str, *, force: bool = False, uses: Iterable[pb.ImageUse] = ()) -> list[str]:
        answer = await self.call(rpc.ImageServiceStub, "RemoveImage", pb.RemoveImageRequest(
            namespace=NAMESPACE, image=name, force=force, uses=uses))
        return [f"Untagged: {one.untagged}" if one.untagged else f"Deleted: {one.deleted}" for one in answer.removed]

    async def tag(self, image: str, reference: str) -> pb.Image:
        request = pb.TagImageRequest(namespace=NAMESPACE, image=image, reference=reference)
        return (await self.call(rpc.ImageServiceStub, "TagImage", request)).image  # type: ignore[no-any-return]

    async def prepare(self, key: str, image: str = "", **parent: str) -> pb.Snapshot:
        request = pb.PrepareSnapshotRequest(key=key, owner=owner(key), **({"image": image} if image else parent))
        answer = await self.call(rpc.SnapshotServiceStub, "PrepareSnapshot", request)
        return answer.snapshot  # type: ignore[no-any-return]

    async def view(self, key: str, image: str = "", **parent: str) -> pb.Snapshot:
        request = pb.ViewSnapshotRequest(key=key, owner=owner(key), **({"image": image} if image else parent))
        answer = await self.call(rpc.SnapshotServiceStub, "ViewSnapshot", request)
        return answer.snapshot  # type: ignore[no-any-return]

    async def snapshot(self, key: str) -> pb.Snapshot:
        request = pb.GetSnapshotRequest(key=key)
        return (await self.call(rpc.SnapshotServiceStub, "GetSnapshot", request)).snapshot  # type: ignore[no-any-return]

    async def commit(self, key: str, name: str, **fields: Any) -> pb.CommitSnapshotResponse:
        request = pb.CommitSnapshotRequest(key=key, name=name, **fields)
        return await self.call(rpc.SnapshotServiceStub, "CommitSnapshot", request)  # type: ignore[no-any-return]

    async def tar_of(self, method: str, request: Any) -> bytes:
        """What Export or Diff streams."""
        stub = rpc.SnapshotServiceStub(self.peer.channel)
        return b"".join([answer.data async for answer in self.peer.stream(getattr(stub, method), request)])

    async def apply(self, key: str, tar: bytes, *, momentary: bool = False) -> pb.ApplyResponse:
        requests = _apply_requests(key, tar, momentary)
        return await self.call(rpc.SnapshotServiceStub, "Apply", requests)  # type: ignore[no-any-return]

    async def copy(self, source: str, key: str, *sources: bytes, target: bytes = b"/", **fields: Any) -> int:
        """CopyFiles; how many files."""
        chosen = {name: fields.pop(name) for name in ("exclude", "literal") if name in fields}
        files = pb.FileSelection(snapshot=source, sources=sources, **chosen)
        request = pb.CopyFilesRequest(files=files, key=key, target=target, **fields)
        return (await self.call(rpc.SnapshotServiceStub, "CopyFiles", request)).files  # type: ignore[no-any-return]

    async def hash(self, source: str, *sources: bytes, parents: bool = False, **fields: Any) -> pb.HashResponse:
        files = pb.FileSelection(snapshot=source, sources=sources, **fields)
        request = pb.HashRequest(files=files, parents=parents)
        return await self.call(rpc.SnapshotServiceStub, "Hash", request)  # type: ignore[no-any-return]

    async def make_directory(self, key: str, path: bytes, chown: str = "") -> bool:
        request = pb.MakeDirectoryRequest(key=key, path=path, chown=chown)
        return (await self.call(rpc.SnapshotServiceStub, "MakeDirectory", request)).made  # type: ignore[no-any-return]

    async def remove_snapshot(self, key: str) -> None:
        await self.call(rpc.SnapshotServiceStub, "RemoveSnapshot", pb.RemoveSnapshotRequest(key=key))

    async def collect(self) -> pb.CollectGarbageResponse:
        request = pb.CollectGarbageRequest()
        return await self.call(rpc.ImageServiceStub, "CollectGarbage", request)  # type: ignore[no-any-return]

    async def clear(self) -> None:
        """Take away all snapshots and images."""
        answer = await self.call(rpc.SnapshotServiceStub, "ListSnapshots", pb.ListSnapshotsRequest())
        for snapshot in answer.snapshots:
            await self.remove_snapshot(snapshot.key)
        for image in await self.images():
            await self.remove(image.id, force=True)
        await self.collect()

    async def fsck(self, *, repair: bool = False) -> list[str]:
        answer = await self.call(
            system_pb2_grpc.SystemServiceStub, "Fsck", system_pb2.FsckRequest(repair=repair))
        return [f"{one.reason} {one.subject}" for one in answer.findings]

    async def idle(self) -> None:
        """Until what its zygotes have forked has ended."""
        async with asyncio.timeout(60):
            while any(children(zygote) for zygote in children(self.pid)):
                await asyncio.sleep(0.01)  # they are no children of ours, and nothing tells of their end

    def directories(self) -> dict[str, list[str]]:
        """What is on disk, by kind."""
        return {name: sorted(os.listdir(self.state / name)) for name in ("l", "s", "trash", "ingest", "blobs/sha256")}


def children(pid: int) -> list[int]:
    """The processes that ``pid`` has started and not yet taken the status of."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in found]


def owner(id_: str) -> types_pb2.Owner:
    return types_pb2.Owner(manager="gateway", namespace=NAMESPACE, id=id_)


async def load_requests(raw: bytes) -> AsyncIterator[pb.LoadRequest]:
    """An archive in messages."""
    yield pb.LoadRequest(namespace=NAMESPACE)
    for start in range(0, len(raw), _CHUNK):
        yield pb.LoadRequest(data=raw[start : start + _CHUNK])


async def _apply_requests(key: str, raw: bytes, momentary: bool) -> AsyncIterator[pb.ApplyRequest]:
    yield pb.ApplyRequest(key=key, momentary=momentary)
    for start in range(0, len(raw), _CHUNK):
        yield pb.ApplyRequest(data=raw[start : start + _CHUNK])


async def _import_requests(options: pb.ImportOptions, raw: bytes) -> AsyncIterator[pb.ImportRequest]:
    yield pb.ImportRequest(options=options)
    for start in range(0, len(raw), _CHUNK):
        yield pb.ImportRequest(data=raw[start : start + _CHUNK])


def stage_names(node: stages.Node) -> list[str]:
    """Every stage (``verb.step``) below ``node``, in order, each once; the roots that calls make are no stages."""
    found: dict[str, None] = {}

    def visit(span: types_pb2.Span) -> None:
        for child in span.children:
            if "." in child.name:
                found[child.name] = None
            visit(child)

    visit(node.to_span())
    return list(found)


@asynccontextmanager
async def serving(directory: Path, **settings: object) -> AsyncIterator[Served]:
    """imaged for as long as the block lasts."""
    served = Served(directory)
    await served.start(**settings)  # type: ignore[arg-type]
    try:
        yield served
    finally:
        await served.stop()


def shown(snapshot: pb.Snapshot) -> dict[str, bytes]:
    """The regular files below /data of a snapshot's root file system, mounted as its MountSpec says."""
    (mount,) = snapshot.mounts
    options = b",".join(
        key.encode() + b"=" + b":".join(one.value for one in mount.options if one.key == key)
        for key in dict.fromkeys(one.key for one in mount.options if one.value))
    inside = f"""
import json, os
from chassis import kernel
kernel.unshare(kernel.CLONE_NEWNS)
kernel.mount(None, b"/", None, kernel.MS_REC | kernel.MS_PRIVATE)
kernel.mount(b"overlay", b"/mnt", b"overlay", 0, {options!r})
found = {{}}
for top, _, names in os.walk("/mnt/data"):
    for name in names:
        path = os.path.join(top, name)
        if not os.path.islink(path):
            found[path[5:]] = open(path).read()
print(json.dumps(found))
"""
    run = subprocess.run(
        [sys.executable, "-c", inside], check=True, capture_output=True, text=True,
        env={"PYTHONPATH": str(Path(kernel.__file__).parents[1])})
    return {name: content.encode() for name, content in json.loads(run.stdout).items()}


def inside(snapshot: pb.Snapshot, script: str) -> str:
    """What a shell script prints that runs with the snapshot's root as its working directory, mounted by its mounts."""
    mounts = [
        (one.type, os.fsdecode(one.source or one.type.encode()), [
            (option.key, os.fsdecode(option.value)) for option in one.options]) for one in snapshot.mounts]
    program = f"""
import os
from chassis import kernel, overlay
kernel.unshare(kernel.CLONE_NEWNS)
kernel.mount(None, b"/", None, kernel.MS_REC | kernel.MS_PRIVATE)
for kind, source, options in {mounts!r}:
    target = os.open("/mnt", os.O_PATH | os.O_DIRECTORY)
    read_only = kernel.MOUNT_ATTR_RDONLY if ("ro", "") in options else 0
    rest = [key + "=" + value if value else key for key, value in options if key not in ("lowerdir", "ro")]
    lowers = [value for key, value in options if key == "lowerdir"]
    if kind == "overlay":
        overlay.attach(overlay.Overlay(source, lowers, rest, read_only), target)
    else:
        kernel.mount(os.fsencode(source), b"/mnt", None, kernel.MS_BIND)
        kernel.mount_setattr(kernel.AT_FDCWD, b"/mnt", 0, set_=read_only)
os.chdir("/mnt")
os.execv("/bin/sh", ["sh", "-ec", {script!r}])
"""
    run = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, errors="backslashreplace",
        timeout=60,
        env={"PYTHONPATH": str(Path(kernel.__file__).parents[1]), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    assert run.returncode == 0, run.stderr
    return run.stdout


@contextmanager
def shared(directory: Path, **settings: object) -> Iterator[Served]:
    """imaged for the tests of a module, each of which connects to it by itself."""
    served = Served(directory)

    async def start() -> None:
        await served.start(**settings)  # type: ignore[arg-type]
        await served.import_(bytes(1024))  # its zygote lives from here on
        await served.clear()
        await served.idle()
        await served.disconnect()

    asyncio.run(start())
    try:
        yield served
    finally:
        asyncio.run(served.stop())
