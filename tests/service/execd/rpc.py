"""execd and its zygote as real processes, driven by gRPC alone: what a stranger with the contract would do."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from chassis import kernel
from chassis.client import Peer
from chassis.errors import NotFound, PierError
from chassis.ids import new_id
from chassis.instance import instance
from deploy.busybox_image import layer, rootfs_entries
from launcher import control
from launcher.programs import environment, programs
from pier.exec.v1 import exec_pb2, exec_pb2_grpc
from pier.system.v1 import system_pb2, system_pb2_grpc
from pier.types.v1 import types_pb2

WITHIN: Final = 20.0
_PAUSE: Final = 0.01


class Execd:
    """The two processes of one instance below ``base``. Both can be killed and started again."""

    def __init__(self, name: str, base: Path) -> None:
        self.instance = instance(name, base / "root", base / "run")
        self.instance.run.mkdir(mode=0o700, parents=True)
        self._base = base
        self._argv = {program.name: program.argv for program in programs(self.instance, None)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.peer = Peer("execd", self.instance.socket("execd"))
        self.stub = exec_pb2_grpc.ContainerServiceStub(self.peer.channel)
        self._system = system_pb2_grpc.SystemServiceStub(self.peer.channel)
        self.rootfs = base / "busybox"
        self.rootfs.mkdir()
        subprocess.run(["tar", "-x", "-C", self.rootfs], input=layer(rootfs_entries()), check=True)

    def start(self, name: str, fault: str = "") -> None:
        """Start ``execd`` or ``zygote``; execd with a fault point armed."""
        variables = {**environment(), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        if fault:
            variables["PIER_FAULT"] = fault
        with (self._base / f"{name}.log").open("ab") as log:
            extra = ["--metrics-port", "0"] if name == "execd" else []
            self.processes[name] = subprocess.Popen([*self._argv[name], *extra], env=variables, stdout=log, stderr=log)

    async def serving(self) -> None:
        """Until execd answers its health check."""
        deadline = time.monotonic() + WITHIN
        while not await asyncio.to_thread(control.is_serving, self.instance, "execd"):
            assert time.monotonic() < deadline, f"execd is not serving:\n{self.log()[-3000:]}"
            await asyncio.sleep(_PAUSE)

    async def has_zygote(self) -> bool:
        """Whether the zygote listens."""
        try:
            _, writer = await asyncio.open_unix_connection(str(self.instance.zygote_socket))
        except OSError:
            return False
        writer.close()
        return True

    def kill(self, *names: str) -> None:
        """SIGKILL to all of ``names`` first, then see them gone."""
        for name in names:
            self.processes[name].kill()
        for name in names:
            self.processes.pop(name).wait()

    def log(self) -> str:
        return (self._base / "execd.log").read_text(errors="replace")

    def died(self) -> bool:
        """execd has ended by itself (a fault point acted)."""
        return "execd" in self.processes and self.processes["execd"].poll() is not None

    async def call(self, method: str, deadline: float = 30.0, **fields: Any) -> Any:
        """One call of ContainerService: ``await execd.call("StopContainer", id=…)``."""
        request = getattr(exec_pb2, f"{method}Request")(**fields)
        return await self.peer.call(getattr(self.stub, method), request, timeout=deadline)

    async def create(self, *args: str, name: str = "", id_: str = "", **spec: Any) -> str:
        """A container of busybox that is ready to start; its id."""
        id_ = id_ or new_id()
        process = exec_pb2.Process(args=[arg.encode() for arg in args], **spec.pop("process", {}))
        await self.call(
            "CreateContainer", id=id_, name=name or f"c{id_[:12]}", owner=owner(id_),
            spec=exec_pb2.ContainerSpec(process=process, **spec),
        )
        await self.call("CompleteContainer", id=id_, rootfs=[self.overlay(id_)])
        return id_

    def overlay(self, id_: str) -> types_pb2.MountSpec:
        """busybox below a writable layer of the container's own, as imaged would describe it."""
        layer = self._base / "layers" / id_
        for part in ("upper", "work"):
            (layer / part).mkdir(parents=True, exist_ok=True)
        options = {"lowerdir": self.rootfs, "upperdir": layer / "upper", "workdir": layer / "work"}
        return types_pb2.MountSpec(
            type="overlay",
            options=[types_pb2.MountOption(key=key, value=os.fsencode(value)) for key, value in options.items()],
        )

    def upper(self, id_: str) -> Path:
        """Where a container's writes land."""
        return self._base / "layers" / id_ / "upper"

    async def begin(self, id_: str, operation: str = "1") -> Any:
        """Start a container in a network namespace of its own."""
        fresh = exec_pb2.NamespaceRef(kind=exec_pb2.NAMESPACE_KIND_NETWORK, fresh=True)
        return await self.call("StartContainer", id=id_, operation_id=operation, namespaces=[fresh])

    async def get(self, id_: str) -> Any:
        return (await self.call("GetContainer", namespace="docker", container=id_)).container

    async def wait(self, id_: str, condition: int = exec_pb2.WAIT_CONDITION_NOT_RUNNING) -> Any:
        """The exit that a wait answers."""
        request = exec_pb2.WaitRequest(id=id_, condition=exec_pb2.WaitCondition.ValueType(condition))
        async for answer in self.peer.stream(self.stub.Wait, request, timeout=30):
            if answer.HasField("exit"):
                return answer.exit
        raise AssertionError("the wait ended without an exit")

    async def logs(self, id_: str) -> bytes:
        """All of a container's log."""
        request = exec_pb2.ReadLogsRequest(id=id_, stdout=True, stderr=True)
        return b"".join(
            [
                log.data
                async for batch in self.peer.stream(self.stub.ReadLogs, request, timeout=30)
                for log in batch.records
            ]
        )

    async def fsck(self) -> list[str]:
        """What execd finds wrong, a line each."""
        answer = await self.peer.call(self._system.Fsck, system_pb2.FsckRequest())
        return [f"{finding.reason} {finding.subject}: {finding.message}" for finding in answer.findings]

    async def remove(self, id_: str) -> None:
        try:
            await self.call("BeginRemove", id=id_, force=True)
            await self.call("FinishRemove", id=id_)
        except NotFound:
            return

    async def remove_all(self) -> None:
        for container in (await self.call("ListContainers")).containers:
            await self.remove(container.id)

    async def close(self) -> None:
        await self.peer.close()
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(WITHIN)


@asynccontextmanager
async def running(name: str, base: Path) -> AsyncIterator[Execd]:
    """execd and zygote for as long as the block lasts; all its containers are removed at the end."""
    execd = Execd(name, base)
    execd.start("zygote")
    execd.start("execd")
    try:
        await execd.serving()
        yield execd
        for program in ("zygote", "execd"):
            if program not in execd.processes:
                execd.start(program)
        await execd.serving()
        await until(execd.has_zygote, "the zygote listens: only one that is up takes the cgroups away when it ends")
        await execd.remove_all()
    finally:
        await execd.close()


def owner(id_: str) -> types_pb2.Owner:
    return types_pb2.Owner(manager="test", namespace="docker", id=id_)


async def until(condition: Any, what: str, within: float = WITHIN) -> Any:
    """The first true value of ``await condition()``; a call that fails meanwhile counts as not yet."""
    deadline = time.monotonic() + within
    last: object = None
    while True:
        try:
            if value := await condition():
                return value
        except PierError as error:
            last = error
        assert time.monotonic() < deadline, f"not within {within} s: {what} ({last})"
        await asyncio.sleep(_PAUSE)


def parent_of(pid: int) -> int:
    """Pid of a process's parent: of a container's first process, its shim."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("PPid:"):
            return int(line.split()[1])
    raise AssertionError("no PPid")


def kill_and_see(pid: int) -> None:
    """SIGKILL to ``pid``, and wait until it is gone."""
    handle = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        assert select.select([handle], [], [], WITHIN)[0]
    finally:
        os.close(handle)


def kernel_tells_exits() -> bool:
    """Whether this kernel tells the exit code of a process that is not our child (6.15 and later)."""
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 7"], {})
    handle = os.pidfd_open(pid)
    try:
        os.waitpid(pid, 0)
        return kernel.pidfd_exit_status(handle) == 7 << 8
    finally:
        os.close(handle)
