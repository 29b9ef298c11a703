"""imaged's side of unpacking: keeps the zygote, hands out jobs, relays progress and outcomes. On the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fcntl
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from chassis import errors
from chassis.compression import Caps
from chassis.errors import Internal
from chassis.tar import Limits
from imaged.unbroken import cancelled, unbroken
from imaged.unpack.worker import FEED, Job, Unpacked
from imaged.zygotes import Zygote

_PROGRAM: Final = Path(__file__).with_name("zygote.py")
_ANSWER: Final = 1 << 16
_STREAMS: Final = 32
"""Streams that are unpacked at once: as many processes, of which those wait that nobody sends anything to."""


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
        self._streams = asyncio.Semaphore(_STREAMS)
        self._zygote = Zygote(_PROGRAM, [self._lock])

    def take_lock(self) -> None:
        """Wait until no worker of an earlier imaged writes any more. Blocks; they are dying already."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    async def unpack(
        self, blob: int, directory: int, feed: Feed, progress: Callable[[int], object] = lambda _: None, *,
        plain: bool = False,
    ) -> Unpacked:
        """Unpack the file ``blob`` into the empty ``directory`` (descriptors, which stay the caller's).

        ``plain``: names that begin with ".wh." are names as others. ``progress`` is told how many bytes of the blob are
        unpacked. When this returns or raises, cancellation included, the worker has ended. Errors are the worker's:
        InvalidArgument for what is wrong with the layer, ResourceExhausted for a full disk.
        """
        job = dataclasses.replace(self._job, plain=plain)
        async with self._slots, self._working(job, blob, directory) as channel:
            return await self._follow(channel, feed, progress)

    async def pour(self, stream: socket.socket, directory: int, *, plain: bool) -> Unpacked:
        """Unpack what comes over ``stream`` until its other end is closed, into the empty ``directory``, for a moment
        (``Job.momentary``). Else as ``unpack``, but where this is cancelled the other end has to be closed first. No
        layer waits for it: it goes on for as long as somebody takes to send it."""
        job = dataclasses.replace(self._job, momentary=True, plain=plain)
        async with self._streams, self._working(job, stream.fileno(), directory) as channel:
            stream.close()  # the worker has it, and nobody else
            return await self._follow(channel, Feed(whole=True), lambda _: None)

    @asynccontextmanager
    async def _working(self, job: Job, source: int, directory: int) -> AsyncIterator[socket.socket]:
        """A worker with its job, at the other end of a channel."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            try:
                await self._zygote.send(job.encode(), [theirs.fileno(), source, directory])
            finally:
                theirs.close()
            yield ours
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

    async def close(self) -> None:
        """End the zygote and with it the workers; the lock is given up."""
        await self._zygote.close()
        os.close(self._lock)
