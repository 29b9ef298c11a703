"""Sandboxes: pinned namespaces with an owner. Taken ready-made, recorded, handed out by path."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from chassis import ids
from chassis.blocking import Pool as Threads
from chassis.errors import AlreadyExists, NotFound
from chassis.logs import logger
from chassis.stages import stage
from chassis.store import Store
from netd import links, netns, records, requests
from netd.netlink import NetlinkSocket
from netd.records import Marks, Sandbox, View
from netd.spares import Spares
from pier.network.v1 import network_pb2


class Sandboxes:
    """All sandboxes of the instance. Callers hold the sandbox's lock."""

    def __init__(
        self, store: Store, threads: Threads, spares: Spares, marks: Marks, directory: Path, boot_id: str
    ) -> None:
        self._store = store
        self._threads = threads
        self._spares = spares
        self._marks = marks
        self.directory = directory
        self._boot_id = boot_id

    def pin(self, sandbox: Sandbox) -> Path:
        """Where the sandbox's namespace is pinned."""
        return self.directory / sandbox.pin

    async def forget_other_boots(self) -> None:
        """Namespaces do not outlive a boot: what was recorded in an earlier one is struck, with its endpoints."""
        def strike(connection: sqlite3.Connection) -> int:
            old = [s for s in records.sandboxes(connection) if s.boot_id != self._boot_id]
            for sandbox in old:
                records.delete_sandbox(connection, sandbox.id)
            return len(old)

        if count := await self._store.write("adopt.forget", strike):
            logger().info("sandboxes of an earlier boot are gone", count=count)

    async def view(self, sandbox_id: str) -> View:
        """Raises NotFound."""
        ids.sandbox_id(sandbox_id)
        return await self._store.read(lambda c: records.view(c, sandbox_id))

    async def existing(self, request: network_pb2.CreateSandboxRequest) -> View | None:
        """The sandbox of that id. Raises AlreadyExists for one that was asked for otherwise."""
        try:
            view = await self.view(request.id)
        except NotFound:
            return None
        if view.sandbox.request != request:
            raise AlreadyExists(f"sandbox {request.id} exists with another specification", reason="SPEC_DIFFERS",
                                field="id")
        return view

    async def planned(self, request: network_pb2.CreateSandboxRequest) -> View:
        """The sandbox as it will be, without endpoints."""
        pin = "" if request.host else request.id
        sandbox = Sandbox(ids.sandbox_id(request.id), time.time_ns(), request, pin, self._boot_id)
        return View(sandbox, (), {network.id: network for network in await self._store.read(records.networks)})

    @staticmethod
    def renamed(sandbox: Sandbox, names: Sequence[str]) -> Sandbox:
        """The sandbox as it would be had it been made with these names."""
        request = network_pb2.CreateSandboxRequest()
        request.CopyFrom(sandbox.request)
        request.names[:] = requests.names(names)
        return replace(sandbox, request=request)

    @asynccontextmanager
    async def made(self, sandbox: Sandbox) -> AsyncIterator[None]:
        """Its namespace, which carries its owner. The body records it; until then a restart takes it for nobody's and
        removes it, and a body that raises unpins it."""
        if not sandbox.host:
            await self._take(sandbox)
        try:
            yield
        except BaseException:
            if not sandbox.host:
                async with stage("create_sandbox.unpin"):
                    await self._threads.run(netns.unpin, self.pin(sandbox))
            raise

    async def _take(self, sandbox: Sandbox) -> None:
        alias = self._marks.sandbox(sandbox.id, sandbox.owner)

        def own(spare: netns.Netns, inside: NetlinkSocket) -> None:
            with inside:
                inside.run([links.set_link("lo", alias=alias)])
            netns.repin(spare, sandbox.id)

        async with stage("create_sandbox.netns") as step:
            spare, inside = await self._spares.take()
            step.note(spare=spare.path.name)
            await self._threads.run(own, spare, inside)

    async def unpin(self, sandboxes: Sequence[Sandbox]) -> None:
        """Take the pins away; the kernel takes the namespaces apart when nobody is inside."""
        paths = [self.pin(sandbox) for sandbox in sandboxes if not sandbox.host]

        def work() -> None:
            for path in paths:
                netns.unpin(path)

        await self._threads.run(work)
