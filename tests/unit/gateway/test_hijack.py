"""A connection becomes raw without losing a byte: glued to the head, early, half-closed, or dropped."""

import asyncio
import contextlib
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import NotFound
from gateway.recent import Recent
from gateway.rest import hijack
from gateway.rest.app import Face
from gateway.rest.routes import Routes

HEAD = b"POST /v1.45/containers/x/attach?stream=1 HTTP/1.1\r\nHost: d\r\n"
UPGRADE = HEAD + b"Connection: Upgrade\r\nUpgrade: tcp\r\n"
PLAIN = b"GET /v1.45/plain HTTP/1.1\r\nHost: d\r\n\r\n"


def face(seen):
    """An engine that echoes what is attached, upper case, and says `bye` at the end of input."""
    routes = Routes()

    async def echo(reader_writer):
        loop = asyncio.get_running_loop()
        with reader_writer:
            while data := await loop.sock_recv(reader_writer, 65536):
                seen.append(data)
                await loop.sock_sendall(reader_writer, data.upper())
            with contextlib.suppress(OSError):
                await loop.sock_sendall(reader_writer, b"bye")

    @routes.post("/containers/{name}/attach")
    async def attach(call):
        if call.path["name"] != "x":
            raise NotFound("No such container: " + call.path["name"])
        seen.append(await call.data())
        ours, theirs = socket.socketpair()
        for each in (ours, theirs):
            each.setblocking(False)
        task = asyncio.create_task(echo(theirs))
        taken, response = await hijack.upgrade(call, terminal=False)
        with ours:
            await hijack.splice(taken, ours)
        await task
        seen.append("over")
        return response

    @routes.get("/plain")
    async def plain(call):
        return call.json({"plain": True})

    engine: Any = SimpleNamespace(recent=Recent())
    return Face(engine, [routes])


@contextlib.asynccontextmanager
async def serving():
    seen: list[Any] = []
    runner = web.ServerRunner(face(seen), shutdown_timeout=1)
    await runner.setup()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    loop = asyncio.get_running_loop()
    assert runner.server is not None
    await loop.connect_accepted_socket(runner.server, theirs)
    try:
        yield ours, seen
    finally:
        ours.close()
        await runner.cleanup()


async def read_until(sock, mark):
    data = b""
    while mark not in data:
        more = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 65536), 10)
        assert more, data
        data += more
    return data


async def read_all(sock):
    data = b""
    while more := await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 65536), 10):
        data += more
    return data


async def send(sock, data):
    await asyncio.get_running_loop().sock_sendall(sock, data)


async def test_what_is_glued_to_the_head_is_input_and_half_close_ends_it():
    async with serving() as (sock, _):
        await send(sock, UPGRADE + b"\r\nglued")
        sock.shutdown(socket.SHUT_WR)
        answer = await read_all(sock)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\n")
    assert b"Content-Type: application/vnd.docker.multiplexed-stream" in head
    assert b"Connection: Upgrade" in head
    assert body == b"GLUEDbye"


async def test_without_an_upgrade_the_answer_is_a_plain_200_of_raw_bytes():
    async with serving() as (sock, _):
        await send(sock, HEAD + b"\r\nx")
        sock.shutdown(socket.SHUT_WR)
        head, _, body = (await read_all(sock)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"application/vnd.docker.raw-stream" in head
    assert b"chunked" not in head
    assert body == b"Xbye"


async def test_a_body_is_read_to_its_length_and_what_follows_is_input():
    async with serving() as (sock, seen):
        await send(sock, UPGRADE + b"Content-Length: 4\r\n\r\nbodyinput")
        sock.shutdown(socket.SHUT_WR)
        assert (await read_all(sock)).endswith(b"\r\n\r\nINPUTbye")
    assert seen[0] == b"body"


async def test_a_refused_upgrade_is_a_plain_answer_and_the_connection_goes_on():
    async with serving() as (sock, _):
        await send(sock, UPGRADE.replace(b"/x/", b"/nobody/") + b"\r\n" + PLAIN)
        answer = await read_until(sock, b'{"plain":true}')
    assert answer.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b'{"message":"No such container: nobody"}\n' in answer


async def test_an_upgrade_on_a_connection_that_was_used_before_works():
    async with serving() as (sock, _):
        for _ in range(3):
            await send(sock, PLAIN)
            await read_until(sock, b'{"plain":true}')
        await send(sock, UPGRADE + b"\r\n")
        await read_until(sock, b"\r\n\r\n")
        await send(sock, b"later")
        await read_until(sock, b"LATER")


async def test_a_client_that_is_gone_is_noticed_although_nobody_writes():
    async with serving() as (sock, seen):
        await send(sock, UPGRADE + b"\r\n")
        await read_until(sock, b"\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        sock.close()
        for _ in range(1000):
            if "over" in seen:
                break
            await asyncio.sleep(0)
        assert "over" in seen


async def test_requests_sent_ahead_are_answered_in_order():
    async with serving() as (sock, _):
        await send(sock, PLAIN * 5)
        data = b""
        while data.count(b'{"plain":true}') < 5:
            data += await read_until(sock, b'{"plain":true}')
        assert data.count(b"HTTP/1.1 200 OK") == 5


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=12), st.binary(max_size=200), st.booleans())
def test_however_the_bytes_are_cut_the_same_arrives(cuts, data, with_body):
    async def run():
        async with serving() as (sock, seen):
            whole = UPGRADE + (b"Content-Length: 4\r\n\r\nbody" if with_body else b"\r\n") + data
            at = 0
            for cut in cuts:
                await send(sock, whole[at : at + cut])
                at += cut
                await asyncio.sleep(0)
            await send(sock, whole[at:])
            sock.shutdown(socket.SHUT_WR)
            answer = await read_all(sock)
            assert answer.partition(b"\r\n\r\n")[2] == data.upper() + b"bye"
            assert seen[0] == (b"body" if with_body else b"")

    asyncio.run(run())


@pytest.mark.parametrize("request_line,status", [
    (b"PUT /v1.45/plain", b"404"), (b"GET /v1.45/nothing", b"404"), (b"GET /v9.99/plain", b"400"),
    (b"GET /v1.9/plain", b"400"),
])
async def test_every_answer_carries_the_standing_headers_and_errors_are_json(request_line, status):
    async with serving() as (sock, _):
        await send(sock, request_line + b" HTTP/1.1\r\nHost: d\r\nX-Request-Id: mine\r\n\r\n")
        head, _, body = (await read_until(sock, b"}\n")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    for header in (b"Api-Version: 1.56", b"Ostype: linux", b"Server: Docker/", b"Docker-Experimental: false",
                   b"X-Request-Id: mine", b"Content-Type: application/json"):
        assert header in head
    assert body.startswith(b'{"message":"')


async def test_a_client_that_reads_its_head_late_gets_it_alone():
    async with serving() as (sock, seen):
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, UPGRADE + b"Content-Length: 0\r\n\r\nearly")
        while b"early" not in seen:
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)  # an answer that did not wait would be here by now
        first = await loop.sock_recv(sock, 65536)
        assert first.startswith(b"HTTP/1.1 101 ")
        assert first.endswith(b"\r\n\r\n")
        assert await loop.sock_recv(sock, 65536) == b"EARLY"


async def test_a_client_that_reads_nothing_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(hijack, "_HEAD_SECONDS", 0.0)
    async with serving() as (sock, _seen):
        await asyncio.get_running_loop().sock_sendall(sock, UPGRADE + b"Content-Length: 0\r\n\r\nearly")
        assert (await read_until(sock, b"EARLY")).startswith(b"HTTP/1.1 101 ")
