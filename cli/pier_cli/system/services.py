"""One question to every service at once, each answer or failure by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from chassis.client import Peer
from chassis.errors import PierError, Unavailable
from chassis.instance import SERVICES, Instance
from pier.system.v1 import system_pb2_grpc

T = TypeVar("T")
STATUS_TIMEOUT: Final = 1.0
"""Seconds that a service has to say how it is: a hung one must not hold up the others."""
FSCK_TIMEOUT: Final = 3600.0
"""Seconds that a service has to compare its database with the kernel and the disk: imaged reads all blobs, at a bounded
rate. Asked again, it goes on with the comparison that runs."""


async def ask(
    engine: Instance, question: Callable[[Peer], Awaitable[T]], services: Sequence[str] = SERVICES
) -> dict[str, T | PierError]:
    """What each of the services answers, in the order in which requests pass them."""

    async def one(name: str) -> T | PierError:
        socket = engine.socket(name)
        if not socket.exists():
            return Unavailable(f"{socket}: no such socket", reason="NO_SOCKET")
        peer = Peer(name, socket)
        try:
            return await question(peer)
        except PierError as error:
            return error
        finally:
            await peer.close()

    answers = await asyncio.gather(*map(one, services))
    return dict(zip(services, answers, strict=True))


def system_stub(peer: Peer) -> Any:
    return system_pb2_grpc.SystemServiceStub(peer.channel)
