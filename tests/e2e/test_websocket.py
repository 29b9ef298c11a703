"""Attach by websocket: input and output as messages, unframed, until either side ends."""

import asyncio
import contextlib

import aiohttp
import pytest

from tests.engine import sh, wait_until


@contextlib.asynccontextmanager
async def attached(engine, name, query="stream=1&stdin=1&stdout=1&stderr=1"):
    connector = aiohttp.UnixConnector(path=str(engine.instance.api_socket))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield await session.ws_connect(f"http://pier/v1.47/containers/{name}/attach/ws?{query}")


async def received(client):
    data = b""
    async for message in client:
        assert message.type is aiohttp.WSMsgType.BINARY
        data += message.data
    return data


async def test_input_and_output_are_messages(engine):
    engine.ok("create", "-i", "--name", "box", *sh("echo out; echo err >&2; read a; echo got $a"))
    async with attached(engine, "box") as client:
        await asyncio.to_thread(engine.ok, "start", "box")
        await client.send_bytes(b"hel")
        await client.send_str("lo\n")
        data = await asyncio.wait_for(received(client), 20)
    assert sorted(data.split(b"\n")) == sorted([b"out", b"err", b"got hello", b""])


async def test_a_terminal_is_detached_from_by_its_keys_and_goes_on(engine):
    engine.ok("run", "-dit", "--name", "term", *sh("cat"))
    async with attached(engine, "term", "stream=1&stdin=1&stdout=1&detachKeys=ctrl-x") as client:
        await client.send_bytes(b"word\r")
        assert b"word" in (await asyncio.wait_for(client.receive(), 20)).data
        await client.send_bytes(b"\x18")
        await asyncio.wait_for(received(client), 20)
    assert engine.inspect("term")["State"]["Running"]


async def test_who_goes_away_is_not_waited_for(engine):
    engine.ok("create", "-i", "--name", "box", *sh("cat; echo over > /over; sleep 1000"))
    async with attached(engine, "box") as client:
        await asyncio.to_thread(engine.ok, "start", "box")
        await client.send_bytes(b"x" * 100_000)
    wait_until(lambda: engine.docker("exec", "box", "test", "-e", "/over").returncode == 0)


async def test_what_is_no_handshake_or_no_container_is_refused(engine):
    connector = aiohttp.UnixConnector(path=str(engine.instance.api_socket))
    async with aiohttp.ClientSession(connector=connector) as session:
        async with session.get("http://pier/containers/nobody/attach/ws") as answer:
            assert answer.status == 400
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect("http://pier/containers/nobody/attach/ws?stream=1")
        assert refused.value.status == 404
