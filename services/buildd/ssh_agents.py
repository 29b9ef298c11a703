"""The client's ssh agents for `RUN --mount=type=ssh`: a socket that is there as long as the command runs.

Nothing of an agent is here. What comes to the socket is cut into the protocol's messages, and those that ask for
identities or for a signature go to the client, over the build's own stream; all others are refused.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from buildd.secret_files import Owner
from buildd.state import State
from buildd.uplink import Uplink
from chassis import ssh_agent
from chassis.ids import new_id

_WORD: Final = 16
"""Letters of a socket's name: its path has 108 bytes at most (unix(7))."""
_CONNECTIONS: Final = 16
"""That a command may have at once."""


@asynccontextmanager
async def socket(state: State, uplink: Uplink, id_: str, owner: Owner) -> AsyncIterator[Path]:
    """A socket whose other end is the client's agent ``id_``; it and what is connected to it end with the block."""
    path = state.secrets / new_id()[:_WORD]
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if len(connections) < _CONNECTIONS:
                connections.add(task)
                with suppress(OSError, asyncio.IncompleteReadError):
                    await _serve(uplink, id_, reader, writer)
        finally:
            connections.discard(task)
            writer.close()

    server = await asyncio.start_unix_server(connected, path)
    try:
        os.chown(path, owner.uid, owner.gid)
        os.chmod(path, owner.mode & 0o777)
        yield path
    finally:
        server.close()
        path.unlink(missing_ok=True)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _serve(
    uplink: Uplink, id_: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer one request after the other. What is too long to be one ends the connection."""
    while True:
        (length,) = ssh_agent.HEAD.unpack(await reader.readexactly(ssh_agent.HEAD.size))
        if not 0 < length <= ssh_agent.LONGEST:
            return
        message = await reader.readexactly(length)
        answer = await uplink.ask_agent(id_, message) if ssh_agent.is_handed_on(message) else ssh_agent.FAILURE
        writer.write(ssh_agent.framed(answer))
        await writer.drain()
