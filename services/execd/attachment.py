"""The gRPC twin of the attach protocol, for callers on other machines: one more client of the shim's socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from chassis import attach
from chassis.errors import Aborted, Conflict, InvalidArgument, Unavailable
from pier.exec.v1 import exec_pb2

_CHUNK: Final = 256 << 10


async def serve(
    socket: Path, target: str, framed: bool, opened: exec_pb2.AttachOpen,
    requests: AsyncIterator[exec_pb2.AttachRequest],
) -> AsyncIterator[exec_pb2.AttachResponse]:
    """Answers: an empty one once attached, then output by stream, until the process has ended."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket))
    except OSError as error:
        raise Unavailable(f"attach: {error.strerror}", reason="SHIM_GONE") from error
    feeder: asyncio.Task[None] | None = None
    try:
        writer.write(attach.encode_request(attach.AttachRequest(
            target, opened.stdin, opened.stdout, opened.stderr, framed, opened.detach_keys or None
        )))
        error_text, reason = attach.decode_answer(await reader.readline())
        if error_text:
            raise (InvalidArgument if reason.startswith("BAD") else Conflict)(error_text, reason=reason)
        yield exec_pb2.AttachResponse()
        feeder = asyncio.create_task(_feed(writer, requests))
        stream, left = attach.STDOUT, 0
        while True:
            if framed and not left:
                header = await _header(reader)
                if header is None:
                    return
                stream, left = header
                continue
            data = await reader.read(min(_CHUNK, left) if framed else _CHUNK)
            if not data:
                return
            left -= len(data) if framed else 0
            if stream == attach.SYSTEM:
                raise Aborted(data.decode("utf-8", "replace").strip(), reason="FELL_BEHIND")
            yield exec_pb2.AttachResponse(stream=stream, data=data)
    finally:
        if feeder is not None:
            feeder.cancel()
            await asyncio.gather(feeder, return_exceptions=True)
        writer.close()


async def _header(reader: asyncio.StreamReader) -> tuple[int, int] | None:
    try:
        stream, size = attach.HEADER.unpack(await reader.readexactly(attach.HEADER.size))
    except asyncio.IncompleteReadError:
        return None
    return stream, size


async def _feed(writer: asyncio.StreamWriter, requests: AsyncIterator[exec_pb2.AttachRequest]) -> None:
    """Standard input, with the shim's own pace: a process that does not read stops the caller."""
    with contextlib.suppress(ConnectionError):
        async for request in requests:
            if request.stdin:
                writer.write(request.stdin)
                await writer.drain()
            if request.stdin_end:
                break
        writer.write_eof()
