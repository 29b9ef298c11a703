"""execd's side of the shim protocol: links to living shims, and the zygote that forks new ones.

See ``execd.shim.protocol`` for the words. A link lives as long as its connection; when that ends without a release, the
shim was killed, and ``on_lost`` is told.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from chassis import stages
from chassis.errors import Conflict, DeadlineExceeded, Internal, InvalidArgument, PierError, Unavailable
from chassis.instance import Instance
from chassis.logs import logger
from execd.shim import protocol
from pier.types.v1 import types_pb2

ASK_TIMEOUT: Final = 10.0
RUN_TIMEOUT: Final = 120.0
_ZYGOTE_START: Final = 10.0
_SOURCES: Final = Path(__file__).resolve().parents[1]
_ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_PASSED_ON: Final = ("PIER_STAGE_MARKS",)
Answer = Mapping[str, Any]


class ShimGone(Unavailable):
    """The shim does not answer: it was killed."""

    default_reason = "SHIM_GONE"


class ShimLink:
    """One connection to a shim. ``on_event(link, message)`` and ``on_lost(link)`` are called on the loop."""

    def __init__(
        self, run_dir: Path, on_event: Callable[[ShimLink, Answer], None], on_lost: Callable[[ShimLink], None]
    ) -> None:
        self.run_dir = run_dir
        self.container = ""
        self.incarnation = 0
        self.released = False
        self.description: Answer = {}
        self._on_event = on_event
        self._on_lost = on_lost
        self._seq = 0
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def attach_socket(self) -> Path:
        return self.run_dir / protocol.ATTACH_SOCKET

    @property
    def rootfs(self) -> Path:
        return self.run_dir / protocol.ROOTFS

    @property
    def pid(self) -> int:
        return int(self.description.get("pid", 0))

    async def connect(self, path: Path) -> None:
        """Connect to a shim's control socket, or to the zygote to fork one. ShimGone where nobody listens."""
        try:
            reader, self._writer = await asyncio.open_unix_connection(str(path), limit=protocol.LINE_MAX)
        except OSError as error:
            raise ShimGone(f"{path}: {error.strerror}") from error
        self._task = asyncio.create_task(self._read(reader), name=f"shim {self.run_dir.name}")

    async def watch(self) -> Answer:
        """Ask for events from now on; what the shim knows now."""
        self.description = await self.ask("watch")
        return self.description

    async def ask(self, verb: str, timeout: float = ASK_TIMEOUT, **fields: object) -> Answer:
        """One request and its answer. ShimGone where the shim dies first; refusals are PierErrors by their reason."""
        writer = self._writer
        if writer is None or self._task is None or self._task.done():
            raise ShimGone(f"the shim of {self.container[:12]} is gone")
        self._seq += 1
        seq = self._seq
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[seq] = future
        message = {"version": protocol.VERSION, "seq": seq, "verb": verb, **fields}
        try:
            writer.write(json.dumps(message).encode() + b"\n")
            await writer.drain()
            answer = await asyncio.wait_for(future, timeout)
        except TimeoutError:
            raise DeadlineExceeded(f"the shim did not answer {verb} within {timeout:g} s") from None
        except OSError as error:
            raise ShimGone(f"the shim of {self.container[:12]} is gone: {error.strerror}") from error
        finally:
            self._waiting.pop(seq, None)
        if not answer.get("ok"):
            raise _refusal(str(answer.get("error", "")), str(answer.get("reason", "")))
        return answer

    async def close(self) -> None:
        """Leave the shim alone; it stays."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                message = json.loads(line)
                if "event" in message:
                    self._on_event(self, message)
                elif (future := self._waiting.get(int(message.get("seq", -1)))) is not None and not future.done():
                    future.set_result(message)
        except (OSError, ValueError) as error:
            logger().warning("shim's connection failed", shim=str(self.run_dir), error=str(error))
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ShimGone(f"the shim of {self.container[:12]} is gone"))
        assert self._writer is not None
        self._writer.close()
        if not self.released:
            self._on_lost(self)


def _refusal(text: str, reason: str) -> PierError:
    if reason in ("BAD_STATE", "NO_SUCH_TARGET", "ALREADY_RUNNING"):
        return Conflict(text, reason=reason)
    if reason == "MOUNT_FAILED":
        return InvalidArgument(text, reason=reason, field="rootfs")
    if reason == "RUNTIME_FAILED":
        return Conflict(text, reason="RUNTIME_REFUSED")
    return Internal(f"shim: {text}", reason=reason or "INTERNAL")


def run_directory(base: Path, container: str, incarnation: int) -> Path:
    """Each life's own: 16 hexadecimal digits, so that socket paths stay short."""
    return base / hashlib.sha256(f"{container}/{incarnation}".encode()).hexdigest()[:16]


def is_alive(run_dir: Path) -> bool:
    """Whether a shim holds the directory's lock."""
    try:
        fd = os.open(run_dir / protocol.LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def graft_steps(answer: Answer, verb: str) -> None:
    """Hang the shim's own steps below the current stage."""
    offset = time.time_ns() - time.monotonic_ns()
    for name, start, duration in answer.get("steps", ()):
        span = types_pb2.Span(name=f"{verb}.shim_{name}", service="shim")
        span.start.FromNanoseconds(int(start) + offset)
        span.duration.FromNanoseconds(int(duration))
        stages.graft(span)


class Zygote:
    """Forks shims; started here where it is not there, and nobody else starts it within ``patience`` seconds.

    One that is started here ends with this service, and leaves its place to the supervisor's.
    """

    def __init__(self, instance: Instance, python: str, patience: float) -> None:
        self._patience = patience
        self._instance = instance
        self._python = python
        self._pid = 0
        self._pidfd = -1
        self._starting = asyncio.Lock()
        self._closed = False

    @property
    def socket(self) -> Path:
        return self._instance.zygote_socket

    async def ensure(self) -> None:
        """Return when the zygote listens; Unavailable (NO_ZYGOTE) where it cannot be started."""
        if await self._listens():
            return
        async with self._starting:
            patience = time.monotonic() + self._patience
            while not await self._listens():
                if time.monotonic() >= patience:
                    break
                await asyncio.sleep(0.01)
            else:
                return
            if self._closed:
                raise Unavailable("the service is stopping", reason="STOPPING")
            logger().warning("the zygote is not there, starting it", socket=str(self.socket))
            self._spawn()
            deadline = time.monotonic() + _ZYGOTE_START
            while not await self._listens():
                if time.monotonic() > deadline or not (self._pid or await self._listens()):
                    raise Unavailable("the zygote does not start, execd's log says why", reason="NO_ZYGOTE")
                await asyncio.sleep(0.005)

    async def fork(self, link: ShimLink, spec: protocol.ShimSpec) -> None:
        """Fork the shim of ``spec``; ``link`` is then connected to it. A zygote killed meanwhile is replaced once."""
        for attempt in range(3):
            try:
                await link.connect(self.socket)
                link.description = await link.ask("fork", shim=protocol.to_message(spec))
                return
            except ShimGone:
                if attempt == 2:
                    raise
                await self.ensure()

    def close(self) -> None:
        """Start no zygote any more."""
        self._closed = True
        self._reap()

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(str(self.socket))
        except OSError:
            return False
        writer.close()
        return True

    def _spawn(self) -> None:
        self._reap()
        program = _SOURCES / "execd" / "zygote" / "__main__.py"
        argv = [self._python, "-I", "-S", "-E", str(program), "--socket", str(self.socket),
                "--cgroup-parent", self._instance.cgroup_parent, "--stopgap-of", str(os.getpid())]
        environment = {**_ENVIRONMENT, **{name: os.environ[name] for name in _PASSED_ON if name in os.environ}}
        self._pid = os.posix_spawn(
            self._python, argv, environment, setsid=True, setsigmask=[], setsigdef=list(range(1, 32)),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, 2, 1),
            ],
        )
        self._pidfd = os.pidfd_open(self._pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    def _reap(self) -> None:
        """The zygote that we started has ended, or is not ours to wait for any more."""
        if not self._pid:
            return
        with suppress(ChildProcessError):
            os.waitpid(self._pid, os.WNOHANG)
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pid = 0
