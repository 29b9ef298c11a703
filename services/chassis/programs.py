"""Helpers: one thing done in a process of its own, which streams what it reads or writes and says what it failed with.

A program file gets a JSON object as its argument and ends with ``sys.exit(program.main(sys.argv[1], work))``. Example
of its caller::

    async with programs.running(FILE, {"verb": "read"}) as process:
        ...  # process.stdin, process.stdout
        await programs.finished(process, "archive")
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

from chassis import errors
from chassis.errors import Internal
from chassis.program import PARENT

PIECE: Final = 256 << 10
_ARGUMENT: Final = 96 << 10


@asynccontextmanager
async def running(
    file: Path, request: Mapping[str, Any], fds: Sequence[int] = ()
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The program at work on ``request``, with the descriptors ``fds``; it has ended when the block is left."""
    with _argument(json.dumps({**request, PARENT: os.getpid()})) as (argument, more):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(file), argument, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=PIECE, pass_fds=(*fds, *more),
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        for stream in (process.stdout, process.stderr):
            await _drained(stream)
        await process.wait()


async def _drained(stream: asyncio.StreamReader | None) -> None:
    """Read what a program that has been killed left: asyncio waits for the ends of its pipes, and nobody reads them."""
    with suppress(RuntimeError):  # somebody does, and will see the end
        while stream is not None and await stream.read(PIECE):
            pass


@contextmanager
def _argument(text: str) -> Iterator[tuple[str, list[int]]]:
    """The request as an argument; one that is too long for that (execve(2): 128 KiB) goes by a descriptor."""
    if len(text) <= _ARGUMENT:
        yield text, []
        return
    fd = os.memfd_create("request", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(text.encode("ascii"))
        yield f"@{fd}", [fd]
    finally:
        os.close(fd)


class Process(Protocol):
    """A program at work, as far as its end is waited for."""

    @property
    def stderr(self) -> asyncio.StreamReader | None: ...
    async def wait(self) -> int: ...


async def finished(process: Process, what: str) -> bytes:
    """Wait for its end, and raise what it failed with, if it did; what it said on standard error."""
    assert process.stderr is not None
    said = await process.stderr.read()
    if await process.wait() == 0:
        return said
    try:
        code, reason, message, field = json.loads(said.splitlines()[-1])
    except (ValueError, IndexError):
        raise Internal(f"{what}: the program failed: {said.decode(errors='replace')[-500:]}") from None
    raise errors.from_grpc(code, message, reason=reason, field=field)


async def result(process: Process, what: str) -> Any:
    """As ``finished``; what it told at its end (``program.tell``)."""
    return json.loads((await finished(process, what)).splitlines()[-1])
