"""imaged's side of unpacking: keeps the zygote, hands out jobs, relays progress and outcomes. On the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from chassis import errors
from chassis.compression import Caps
from chassis.errors import Internal
from chassis.tar import Limits
from imaged.unbroken import cancelled, unbroken
from imaged.unpack.worker import FEED, Job, Unpacked

_PROGRAM: Final = Path(__file__).with_name("zygote.py")
_ANSWER: Final = 1 << 16


class Feed:
    """How far a blob is there, for the worker that follows it. ``advance`` never waits."""

    def __init__(self, there: int = 0, *, whole: bool = False) -> None:
        self._there = there
        self._whole = whole
        self._news = asyncio.Event()
        self._news.set()

    def advance(self, there: int, *, whole: bool = False) -> None:
        """``there`` bytes are in the file; ``whole`` says that no more will come."""
        self._there, self._whole = there, whole
        self._news.set()

    async def pump(self, channel: socket.socket) -> None:
        """Tell the worker, the newest state only, until all is told."""
        loop = asyncio.get_running_loop()
        whole = False
        while not whole:
            await self._news.wait()
            self._news.clear()
            whole = self._whole
            await loop.sock_sendall(channel, FEED.pack(self._there, whole))


class Unpacker:
    """Unpacks layers, ``concurrency`` at once. ``lock_path`` is locked while this or any worker of it lives."""

    def __init__(
        self, lock_path: Path, *, concurrency: int = 3, caps: Caps | None = None, limits: Limits | None = None,
        reserve: int = 64 << 20,
    ) -> None:
        self._lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._job = Job(caps or Caps(), limits or Limits(), reserve)
        self._slots = asyncio.Semaphore(concurrency)
        self._control: socket.socket | None = None
        self._pid = 0

    def take_lock(self) -> None:
        """Wait until no worker of an earlier imaged writes any more. Blocks; they are dying already."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    async def unpack(
        self, blob: int, directory: int, feed: Feed, progress: Callable[[int], object] = lambda _: None
    ) -> Unpacked:
        """Unpack the file ``blob`` into the empty ``directory`` (descriptors, which stay the caller's).

        ``progress`` is told how many bytes of the blob are unpacked. When this returns or raises, cancellation
        included, the worker has ended. Errors are the worker's: InvalidArgument for what is wrong with the layer,
        ResourceExhausted for a full disk.
        """
        async with self._slots:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.setblocking(False)
            try:
                try:
                    self._send(theirs, blob, directory)
                finally:
                    theirs.close()
                return await self._follow(ours, feed, progress)
            finally:
                ours.close()

    async def _follow(self, channel: socket.socket, feed: Feed, progress: Callable[[int], object]) -> Unpacked:
        loop = asyncio.get_running_loop()
        pump = asyncio.create_task(feed.pump(channel))
        try:
            while answer := await loop.sock_recv(channel, _ANSWER):
                message = json.loads(answer)
                if "progress" in message:
                    progress(message["progress"])
                elif "error" in message:
                    code, reason, text = message["error"]
                    raise errors.from_grpc(code, text, reason=reason)
                else:
                    return Unpacked(**message["result"])
            raise Internal("unpack: the worker ended without an answer", reason="WORKER_DIED")
        except ConnectionError as error:
            raise Internal("unpack: the worker ended without an answer", reason="WORKER_DIED") from error
        finally:
            await cancelled(pump)
            await unbroken(self._ended(channel))

    @staticmethod
    async def _ended(channel: socket.socket) -> None:
        """Wait until the worker's end of the channel is closed: it does not write any more."""
        loop = asyncio.get_running_loop()
        copy = channel.dup()  # a second cancellation closes the caller's while this still waits
        copy.setblocking(False)
        try:
            with contextlib.suppress(OSError):
                copy.shutdown(socket.SHUT_WR)
                while await loop.sock_recv(copy, _ANSWER):
                    pass
        finally:
            copy.close()

    def _send(self, channel: socket.socket, blob: int, directory: int) -> None:
        fds = [channel.fileno(), blob, directory]
        for attempt in (1, 2):
            control = self._zygote()
            try:
                socket.send_fds(control, [self._job.encode()], fds)
            except OSError as error:
                self._bury()
                if attempt == 2:
                    raise Internal(f"unpack: the zygote does not take jobs: {error}") from error
            else:
                return

    def _zygote(self) -> socket.socket:
        if self._control is not None:
            return self._control
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        # First above what is dup'ed onto, so that no descriptor is overwritten before it is copied.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in (theirs.fileno(), self._lock, null)]
        try:
            self._pid = os.posix_spawn(
                sys.executable, [sys.executable, "-I", str(_PROGRAM)], {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, high[2], 0), (os.POSIX_SPAWN_DUP2, high[2], 1),
                    (os.POSIX_SPAWN_DUP2, high[0], 3), (os.POSIX_SPAWN_DUP2, high[1], 4),
                ],
                setsigmask=[], setsigdef=[signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM],
            )
        except BaseException:
            ours.close()
            raise
        finally:
            for fd in (*high, null):
                os.close(fd)
            theirs.close()
        ours.setblocking(False)
        self._control = ours
        return ours

    def _bury(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
            self._pid = 0

    def close(self) -> None:
        """End the zygote and with it the workers; the lock is given up."""
        self._bury()
        os.close(self._lock)
