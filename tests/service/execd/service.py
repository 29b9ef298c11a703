"""execd as a real process, driven by gRPC alone, from a bundle directory."""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from chassis.client import Peer
from chassis.errors import PierError
from chassis.ids import new_id
from chassis.instance import instance
from pier.exec.v1 import exec_pb2, exec_pb2_grpc
from pier.system.v1 import system_pb2, system_pb2_grpc
from pier.types.v1 import types_pb2
from tests.service.execd import bundle
from tests.service.execd.driver import TIMEOUT, Attached, Control, demultiplex

SOURCES = Path(__file__).parents[3] / "services"
OWNER = types_pb2.Owner(manager="test", namespace="docker", id="test")


class Execd:
    """One instance's execd with its zygote."""

    def __init__(self, base: Path, name: str) -> None:
        self.base = base
        self.instance = instance(name, base / "root", base / "run")
        self.rootfs = bundle.make_root(base / "rootfs")
        self.process: subprocess.Popen[bytes] | None = None
        self.peer: Peer
        self.count = 0
        self.clients: list[Attached] = []

    async def start(self, **environment: str) -> None:
        """Start it and return when it serves."""
        self.process = self._spawn(environment)
        self.peer = Peer("execd", self.instance.socket("execd"))
        self.containers = exec_pb2_grpc.ContainerServiceStub(self.peer.channel)
        self.system = system_pb2_grpc.SystemServiceStub(self.peer.channel)
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                await self.peer.call(self.system.Info, system_pb2.InfoRequest(), 5)
                return
            except PierError:
                assert self.process.poll() is None, self.log()[-4000:]
                assert time.monotonic() < deadline, self.log()[-4000:]
                await asyncio.sleep(0.01)

    async def judged(self) -> None:
        """Until the runtime's probe has its verdict: a test that ends at once would end in the middle of it."""
        deadline = time.monotonic() + TIMEOUT
        while not (self.instance.state("execd") / "runtimes.json").exists():
            assert time.monotonic() < deadline, self.log()[-4000:]
            await asyncio.sleep(0.01)

    def _spawn(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        self.instance.run.mkdir(mode=0o700, exist_ok=True)
        with (self.base / "execd.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "execd", "--instance", self.instance.name, "--root", str(self.instance.root),
                 "--run", str(self.instance.run), "--metrics-port", "0", "--log-level", "debug",
                 "--zygote-patience", "0"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "PYTHONPATH": str(SOURCES), **environment},
            )

    async def stop(self, number: int = signal.SIGTERM) -> None:
        await self.peer.close()
        if self.process is not None:
            self.process.send_signal(number)
            await asyncio.to_thread(self.process.wait, TIMEOUT)
            self.process = None

    async def kill(self) -> None:
        await self.stop(signal.SIGKILL)

    def zygote_pid(self) -> int | None:
        """As it says itself; None where there is none."""
        try:
            control = Control(self.instance.zygote_socket)
        except OSError:
            return None
        try:
            return int(control.ask("describe")["pid"])
        except (OSError, EOFError):  # it ends, as execd's own does with execd
            return None
        finally:
            control.close()

    def kill_zygote(self) -> None:
        pid = self.zygote_pid()
        if pid is not None:
            try:
                pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                return
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            assert select.select([pidfd], [], [], TIMEOUT)[0]
            os.close(pidfd)

    def log(self) -> str:
        return (self.base / "execd.log").read_text(errors="replace")

    # Containers.

    def overlay(self, container: str) -> list[types_pb2.MountSpec]:
        for name in ("upper", "work"):
            (self.base / "snapshots" / container[:16] / name).mkdir(parents=True, exist_ok=True)
        own = self.base / "snapshots" / container[:16]
        option = types_pb2.MountOption
        return [types_pb2.MountSpec(type="overlay", source=b"overlay", options=[
            option(key="lowerdir", value=os.fsencode(self.rootfs)),
            option(key="upperdir", value=os.fsencode(own / "upper")),
            option(key="workdir", value=os.fsencode(own / "work")), option(key="redirect_dir", value=b"nofollow"),
            option(key="metacopy", value=b"off"), option(key="index", value=b"off"),
        ])]

    async def call(self, method: str, request: Any, timeout: float = 60) -> Any:
        return await self.peer.call(getattr(self.containers, method), request, timeout)

    async def create(self, *args: str, spec: exec_pb2.ContainerSpec | None = None, name: str = "",
                     complete: bool = True, **process: Any) -> str:
        container = new_id()
        made = exec_pb2.ContainerSpec()
        made.CopyFrom(spec or made)
        made.process.MergeFrom(exec_pb2.Process(args=[word.encode() for word in args], **process))
        self.count += 1
        await self.call("CreateContainer", exec_pb2.CreateContainerRequest(
            id=container, name=name or f"c{self.count}-{container[:6]}", owner=OWNER, spec=made
        ))
        if complete:
            await self.complete(container)
        return container

    async def complete(self, container: str) -> None:
        await self.call("CompleteContainer", exec_pb2.CompleteContainerRequest(
            id=container, rootfs=self.overlay(container)
        ))

    async def begin(self, container: str, operation: str = "1", **fields: Any) -> exec_pb2.Container:
        response = await self.call("StartContainer", exec_pb2.StartContainerRequest(
            id=container, operation_id=operation, **fields
        ))
        started: exec_pb2.Container = response.container
        return started

    async def run(self, *args: str, **options: Any) -> str:
        container = await self.create(*args, **options)
        await self.begin(container)
        return container

    async def get(self, container: str) -> exec_pb2.Container:
        response = await self.call("GetContainer", exec_pb2.GetContainerRequest(
            namespace="docker", container=container
        ))
        found: exec_pb2.Container = response.container
        return found

    async def wait(self, container: str, condition: int = 0) -> exec_pb2.Exit:
        stream = self.peer.stream(self.containers.Wait, exec_pb2.WaitRequest(
            id=container, condition=exec_pb2.WaitCondition.Name(condition)  # type: ignore[arg-type]  # number or name
        ), TIMEOUT * 3)
        async for response in stream:
            if response.HasField("exit"):
                exit_: exec_pb2.Exit = response.exit
                await stream.aclose()
                return exit_
        raise AssertionError("the wait ended without an exit")

    async def logs(self, container: str, stream: int = 1, **options: Any) -> bytes:
        options = {"stdout": True, "stderr": True, **options}
        pieces = []
        async for batch in self.peer.stream(
            self.containers.ReadLogs, exec_pb2.ReadLogsRequest(id=container, **options), TIMEOUT * 3
        ):
            pieces += [record.data for record in batch.records if record.stream == stream]
        return b"".join(pieces)

    async def follow(self, container: str, **options: Any) -> AsyncIterator[bytes]:
        """Standard output, line by line, until the container ends."""
        request = exec_pb2.ReadLogsRequest(id=container, stdout=True, follow=True, **options)
        async for batch in self.peer.stream(self.containers.ReadLogs, request, TIMEOUT * 3):
            for record in batch.records:
                yield record.data

    async def attach(self, container: str, exec_id: str = "", **options: Any) -> Attached:
        answer = await self.call("OpenAttach", exec_pb2.OpenAttachRequest(id=container, exec_id=exec_id))
        options.setdefault("framed", answer.framed)
        client = await asyncio.to_thread(
            Attached, Path(os.fsdecode(answer.socket_path)), exec_id or "init", **options
        )
        self.clients.append(client)
        return client

    async def exec(
        self, container: str, *args: str, attach: bool = True, **process: Any
    ) -> tuple[str, Attached | None]:
        exec_id = new_id()
        await self.call("ExecCreate", exec_pb2.ExecCreateRequest(
            id=exec_id, container_id=container,
            process=exec_pb2.Process(args=[word.encode() for word in args], **process),
        ))
        client = await self.attach(container, exec_id) if attach else None
        await self.call("ExecStart", exec_pb2.ExecStartRequest(id=exec_id, operation_id="1", attach=attach))
        return exec_id, client

    async def output(self, container: str, *args: str, **process: Any) -> bytes:
        """What a command prints in a running container."""
        _, client = await self.exec(container, *args, **process)
        assert client is not None
        data = await asyncio.to_thread(client.read_all)
        client.close()
        return data if process.get("terminal") else demultiplex(data)[1]

    async def remove(self, container: str, force: bool = True) -> None:
        await self.call("BeginRemove", exec_pb2.BeginRemoveRequest(id=container, force=force))
        await self.call("FinishRemove", exec_pb2.FinishRemoveRequest(id=container))
        shutil.rmtree(self.base / "snapshots" / container[:16], ignore_errors=True)

    async def fsck(self, repair: bool = False) -> list[str]:
        response = await self.peer.call(self.system.Fsck, system_pb2.FsckRequest(repair=repair), 30)
        return [f"{finding.reason} {finding.subject}" for finding in response.findings]

    async def list(self) -> list[exec_pb2.Container]:
        found: list[exec_pb2.Container] = []
        request = exec_pb2.ListContainersRequest()
        while True:
            response = await self.call("ListContainers", request)
            found += response.containers
            if not response.next_page_token:
                return found
            request.page_token = response.next_page_token


@asynccontextmanager
async def execd(name: str, **environment: str) -> AsyncIterator[Execd]:
    """A running execd; at the end everything of its instance is removed."""
    base = Path(tempfile.mkdtemp(prefix="pier-x-", dir="/run"))
    service = Execd(base, name)
    try:
        await service.start(**environment)
        await service.judged()
        yield service
        for container in await service.list():
            await service.remove(container.id)
        findings = await service.fsck()
        assert findings == [], findings
    finally:
        for client in service.clients:
            client.close()
        if service.process is not None:
            await service.stop()
        service.kill_zygote()


