"""Between imaged and its registry stands something that spoils one request in turn, in every way: the result is the
right image or a clear error, and the next try finishes."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from chassis.errors import Internal, PierError
from pier.image.v1 import image_pb2 as pb
from tests.images import Entry, Image, layer, pack
from tests.registry import Registry
from tests.service.imaged.served import Served, shared
from tests.service.imaged.test_push import listening

IMAGE = Image([layer([Entry(f"f{number}", data=random.Random(number).randbytes(100_000))]) for number in range(3)])
REQUESTS = 5
"""Manifest, configuration, three layers."""
PATIENCE = {"stall": 1, "stall midway": 1}
"""Seconds that imaged waits for a registry that stalls; where none does, a machine with much else to do has more."""


@pytest.fixture(scope="module")
def _one_imaged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with shared(tmp_path_factory.mktemp("imaged"), registry_timeout=request.param) as served:
        yield served


def answer(status: str, body: bytes = b"", *headers: str) -> Callable[[socket.socket, bytes, Registry], None]:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""])
    return lambda client, _head, _registry: client.sendall(head.encode() + body)


def reset(client: socket.socket, _head: bytes, _registry: Registry) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def redirect(client: socket.socket, head: bytes, registry: Registry) -> None:
    path = head.split(b" ", 2)[1].decode()
    answer("307 Elsewhere", b"", f"Location: http://{registry.host}{path}")(client, head, registry)


def loop(client: socket.socket, head: bytes, registry: Registry) -> None:
    answer("307 Here", b"", f"Location: {head.split(b' ', 2)[1].decode()}")(client, head, registry)


def cut(client: socket.socket, head: bytes, registry: Registry) -> None:
    client.sendall(upstream(head, registry)[:-20])


def spoilt(client: socket.socket, head: bytes, registry: Registry) -> None:
    whole = bytearray(upstream(head, registry))
    whole[-10] ^= 1
    client.sendall(whole)


def stall(client: socket.socket, _head: bytes, _registry: Registry) -> None:
    """Say nothing until whoever waits has had enough."""
    client.recv(1)


def stall_midway(client: socket.socket, head: bytes, registry: Registry) -> None:
    whole = upstream(head, registry)
    client.sendall(whole[: whole.index(b"\r\n\r\n") + 4 + 100])
    client.recv(1)


def upstream(head: bytes, registry: Registry) -> bytes:
    """The registry's whole answer."""
    with socket.create_connection(("127.0.0.1", registry.port)) as there:
        there.sendall(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        found = b""
        while data := there.recv(65536):
            found += data
    return found


WAYS = {
    "stall": stall, "stall midway": stall_midway, "reset": reset, "cut": cut, "spoilt": spoilt, "redirect": redirect,
    "loop": loop,
    "503": answer("503 Busy"), "429": answer("429 Slow", b"", "Retry-After: 0"), "401": answer("401 Who"),
    "404": answer("404 No"), "garbage": answer("200 OK", b"<html>welcome</html>"), "empty": answer("200 OK"),
    "nonsense": lambda client, _head, _registry: client.sendall(b"nonsense\r\n\r\n"),
}
OVERCOME = ("stall", "stall midway", "reset", "redirect", "503", "429")


async def attempt(served: Served, name: str) -> tuple[pb.Image, PierError | None]:
    """The image, or why there is none."""
    try:
        return await served.pulled(name), None
    except PierError as error:
        return pb.Image(), error


@pytest.mark.parametrize(
    ("_one_imaged", "way"), [(PATIENCE.get(way, 30), way) for way in WAYS], indirect=["_one_imaged"], ids=list(WAYS))
async def test_one_request_in_turn_is_spoilt_and_the_next_try_finishes(
    snapshots: Served, registry: Registry, way: str
) -> None:
    registry.push("proxied", "v1", pack(IMAGE))
    seen, lock, spoils = [0], threading.Lock(), [0]
    resumed: set[bytes] = set()

    def pass_on(client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := client.recv(65536)):
                return
            head += data
        with lock:
            seen[0] += 1
            if b"\r\nRange: bytes=" in head:
                resumed.add(head.split(b" ", 2)[1])
            mine = seen[0] == spoils[0]
        if mine:
            WAYS[way](client, head, registry)
        else:
            client.sendall(upstream(head, registry))
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)

    with listening(pass_on) as port:
        name = f"127.0.0.1:{port}/proxied:v1"
        for number in range(1, REQUESTS + 1):
            seen[0], spoils[0] = 0, number
            image, failure = await attempt(snapshots, name)
            if failure is not None:
                assert way not in OVERCOME, (number, failure.message)
                assert failure.message
                assert not isinstance(failure, Internal), (number, failure.message)
                assert await snapshots.fsck() == []
                spoils[0] = 0
                image = await snapshots.pulled(name)
            assert (image.size, len(image.layers)) == (300_000, 3), (way, number)
            assert await snapshots.fsck() == []
            await snapshots.clear()
            assert snapshots.directories()["l"] == []
    assert resumed or way not in ("cut", "stall midway"), "what is here is not asked for again"
