"""Many bytes from one service to another of the same instance, beside gRPC: over a socket of the giver's.

The giver *offers*: it listens at a word in the run directory, and tells the word over gRPC. The taker connects, once.
The end of the stream says nothing of its being whole: that is for the rpc to say.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from chassis.errors import InvalidArgument, Unavailable
from chassis.ids import new_id
from chassis.instance import Instance, make_private

_LENGTH: Final = 16
_WORD: Final = re.compile(f"[0-9a-f]{{{_LENGTH}}}")


class Offer:
    """``word`` is what the taker is told."""

    def __init__(self, word: str, listener: socket.socket) -> None:
        self.word = word
        self._listener = listener

    async def taken(self) -> socket.socket:
        """The connection of the taker's, for whoever closes it."""
        connection, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        return connection


@asynccontextmanager
async def offered(directory: Path) -> AsyncIterator[Offer]:
    """An offer in ``directory``, for as long as the block lasts."""
    word = new_id()[:_LENGTH]
    path = directory / word
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.setblocking(False)
        listener.bind(str(path))
        try:
            listener.listen(1)
            yield Offer(word, listener)
        finally:
            path.unlink(missing_ok=True)


async def take(directory: Path, word: str, field: str) -> socket.socket:
    """The stream that is offered under ``word``, which blocks: a process that does nothing else reads it.
    InvalidArgument (BAD_ID); Unavailable (NO_OFFER)."""
    if not _WORD.fullmatch(word):
        raise InvalidArgument(f"{field}: {word[:40]!a} is no word of an offer", reason="BAD_ID", field=field,
                              expected=f"{_LENGTH} hexadecimal digits")
    taken = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        taken.setblocking(False)
        await asyncio.get_running_loop().sock_connect(taken, str(directory / word))
        taken.setblocking(True)
    except OSError as error:
        taken.close()
        raise Unavailable(f"{field}: nobody offers {word}: {error.strerror}", reason="NO_OFFER", field=field) from error
    except BaseException:
        taken.close()
        raise
    return taken


def laid_out(instance: Instance) -> Path:
    """The directory of offers, without those of an earlier life."""
    make_private(instance.pours)
    for path in instance.pours.iterdir():
        path.unlink(missing_ok=True)
    return instance.pours
