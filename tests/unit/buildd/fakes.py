"""imaged's snapshots as far as buildd's rules go, in memory, and a way to lose calls or their answers."""

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

from buildd.records import MIGRATIONS
from buildd.settings import BuilddSettings
from buildd.state import State
from chassis.blocking import Pool
from chassis.config import Current
from chassis.errors import AlreadyExists, NotFound, Unavailable
from chassis.instance import Instance
from chassis.operations import Operations
from chassis.store import Store
from pier.image.v1 import image_pb2 as pb


class FakeImaged:
    """``lose`` names a call that fails: before it acts, or, with ``after``, with only its answer lost."""

    def __init__(self):
        self.snapshots = {}
        self.calls = Counter[str]()
        self.lose = ""
        self.after = False

    async def call(self, method, request, timeout=None):
        await asyncio.sleep(0)
        name = method.__name__
        self.calls[name] += 1
        lost, self.lose = self.lose == name, "" if self.lose == name else self.lose
        if lost and not self.after:
            raise Unavailable("lost", reason="FAULT")
        answer = method(request)
        if lost:
            raise Unavailable("lost", reason="FAULT")
        return answer

    def PrepareSnapshot(self, request):
        if request.snapshot and request.snapshot not in self.snapshots:
            raise NotFound("no such snapshot", reason="NO_SNAPSHOT")
        made = pb.Snapshot(key=request.key, owner=request.owner, writable=True, parent=request.snapshot)
        return pb.PrepareSnapshotResponse(snapshot=self.snapshots.setdefault(request.key, made))

    def CommitSnapshot(self, request):
        chain = f"sha256:{request.key:0>64}"
        known = self.snapshots.get(request.name)
        if known is not None and known.upper != request.key.encode():
            raise AlreadyExists("taken", reason="NAME_TAKEN")
        if known is None:
            if self.snapshots.pop(request.key, None) is None:
                raise NotFound("no such snapshot", reason="NO_SNAPSHOT")
            # `upper` remembers, in this fake, which snapshot it was.
            self.snapshots[request.name] = pb.Snapshot(key=request.name, committed=True, upper=request.key.encode())
        return pb.CommitSnapshotResponse(layer=pb.Layer(chain_id=chain, size=3), chain_id=chain)

    def GetSnapshot(self, request):
        if request.key not in self.snapshots:
            raise NotFound("no such snapshot", reason="NO_SNAPSHOT")
        return pb.GetSnapshotResponse(snapshot=self.snapshots[request.key])

    def Hash(self, request):
        (source,) = request.files.sources
        return pb.HashResponse(digest=f"sha256:of-{source.decode()}")

    def RemoveSnapshot(self, request):
        self.snapshots.pop(request.key, None)
        return pb.RemoveSnapshotResponse()

    def ListSnapshots(self, request):
        return pb.ListSnapshotsResponse(snapshots=self.snapshots.values())


async def opened(directory, imaged):
    """A State over the fake, with a real database."""
    services: Any = SimpleNamespace(manager="buildd", namespace="build", imaged=imaged, snapshots=imaged)
    coordinator: Any = None
    store = await Store.open(directory / "buildd.db", MIGRATIONS)
    return State(
        instance=Instance("test", directory, directory), current=Current(BuilddSettings()), services=services,
        coordinator=coordinator, store=store, operations=Operations(),
        files=Pool("test-files", 1), directory=directory, secrets=directory)


async def closed(state):
    await state.operations.close()
    await state.store.close()
    state.files.close()
