"""Logs that are sent elsewhere: what a container has written arrives, whoever was away meanwhile."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chassis.errors import InvalidArgument, Unimplemented
from pier.exec.v1 import exec_pb2
from tests.service.execd.service import Execd

WITHIN = 60.0


class Sink:
    """What a destination has received. ``answer`` is called with each piece, and the way back."""

    def __init__(self) -> None:
        self.data = b""
        self.answer: Callable[[bytes, asyncio.StreamWriter], None] | None = None
        self._grown = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()

    def take(self, data: bytes) -> None:
        self.data += data
        self._grown.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with suppress(OSError):
                while data := await reader.read(65536):
                    self.take(data)
                    if self.answer is not None:
                        self.answer(data, writer)
        finally:
            self._open.discard(writer)
            writer.close()

    async def until(self, met: Callable[[bytes], bool]) -> None:
        async with asyncio.timeout(WITHIN):
            while not met(self.data):
                self._grown.clear()
                await self._grown.wait()

    def hang_up(self) -> None:
        for writer in self._open:
            writer.transport.abort()


@asynccontextmanager
async def listening(sink: Sink, start: Callable[[], Awaitable[asyncio.Server]]) -> AsyncIterator[None]:
    server = await start()
    try:
        yield
    finally:
        server.close()
        sink.hang_up()
        await asyncio.sleep(0)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def sent_by(driver: str, **options: str) -> exec_pb2.ContainerSpec:
    named = {key.replace("_", "-"): value for key, value in options.items()}
    return exec_pb2.ContainerSpec(
        log=exec_pb2.LogSpec(driver=driver, options=named), labels={"shop": "north"}, image="busybox"
    )


def numbers(data: bytes) -> list[int]:
    """The numbers that lines end with, each once, in the order of their first coming."""
    return list(dict.fromkeys(int(found) for found in re.findall(rb"line (\d+)", data)))


COUNT = ("/bin/sh", "-c", "i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done; echo bad line 200 >&2")


async def test_syslog_over_tcp_gets_everything_though_it_and_execd_go_away(service: Execd) -> None:
    sink, port = Sink(), free_port()
    spec = sent_by("syslog", syslog_address=f"tcp://127.0.0.1:{port}", syslog_format="rfc5424", tag="{{.Name}}")
    container = await service.run(*COUNT, spec=spec, name="counting")
    assert (await service.wait(container)).code == 0  # nobody listens yet: the container does not wait
    async with asyncio.timeout(WITHIN):
        while not (await service.get(container)).status.log_error:
            await asyncio.sleep(0.01)
    await service.kill()
    await service.start()
    async with listening(sink, lambda: asyncio.start_server(sink.serve, "127.0.0.1", port)):
        await sink.until(lambda data: len(numbers(data)) == 201)
        assert numbers(sink.data) == list(range(201))
        lines = sink.data.decode().splitlines()
        assert re.fullmatch(r"<30>1 \S+Z \S+ counting \d+ counting - line 0", lines[0])
        assert lines[-1].startswith("<27>1 ")
        assert lines[-1].endswith("bad line 200")
        async with asyncio.timeout(WITHIN):
            while (await service.get(container)).status.log_error:
                await asyncio.sleep(0.01)
        # What was sent is not sent again, and the next life's lines are.
        before = len(sink.data)
        await service.kill()
        await service.start()
        await service.begin(container, "2")
        await sink.until(lambda data: data.count(b"bad line 200") == 2)
        assert numbers(sink.data[before:]) == list(range(201))
        assert sink.data[before:].count(b"line 7\n") == 1
    assert (await service.logs(container)).count(b"line 7\n") == 2
    assert (await service.get(container)).status.log_bytes_lost == 0
    await service.remove(container)


async def test_syslog_over_udp_and_unix_sockets(service: Execd) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix:
        udp.bind(("127.0.0.1", 0))
        unix.bind(str(service.base / "log"))
        loop = asyncio.get_running_loop()
        for address, sock, head in (
            (f"udp://127.0.0.1:{udp.getsockname()[1]}", udp, rb"<134>\w{3} [ \d]\d \S+ \S+ shop\[\d+\]: hello\n"),
            (f"unix://{service.base}/log", unix, rb"<134>\w{3} [ \d]\d \S+ \S+ shop\[\d+\]: hello\n"),
        ):
            sock.setblocking(False)
            spec = sent_by("syslog", syslog_address=address, syslog_facility="local0", tag="shop",
                           syslog_format="rfc3164")
            container = await service.run("/bin/echo", "hello", spec=spec)
            async with asyncio.timeout(WITHIN):
                assert re.fullmatch(head, await loop.sock_recv(sock, 65536))
            await service.remove(container)


async def test_fluentd_acknowledges_each_chunk_and_a_broken_connection_is_made_anew(service: Execd) -> None:
    sink = Sink()
    messages: list[list[Any]] = []
    refusals = 1

    def answer(data: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal refusals
        message = msgspec.msgpack.decode(data)
        if refusals:
            refusals -= 1
            writer.transport.abort()  # it took the bytes and died: they come again
            return
        messages.append(message)
        writer.write(msgspec.msgpack.encode({"ack": message[2]["chunk"]}))

    sink.answer = answer
    path = service.base / "fluent.sock"
    async with listening(sink, lambda: asyncio.start_unix_server(sink.serve, path)):
        spec = sent_by("fluentd", fluentd_address=f"unix://{path}", fluentd_request_ack="true", labels="shop",
                       tag="docker.{{.Name}}")
        container = await service.run("/bin/sh", "-c", "echo one; printf two", spec=spec, name="talking")
        async with asyncio.timeout(WITHIN):
            while sum(len(message[1]) for message in messages) < 2:
                await asyncio.sleep(0.01)
        assert {message[0] for message in messages} == {"docker.talking"}
        records = [record for message in messages for _, record in message[1]]
        assert [record["log"] for record in records] == ["one", "two"]
        assert records[0] | {"log": ""} == {
            "container_id": container, "container_name": "/talking", "source": "stdout", "shop": "north", "log": "",
        }
        assert records[1]["partial_message"] == "true"
        await service.remove(container)


async def test_journald_is_refused_without_a_journal_and_gets_fields_with_one(service: Execd) -> None:
    journal = service.base / "journal"
    await service.stop()
    await service.start(PIER_EXECD_JOURNAL=str(journal))
    with pytest.raises(InvalidArgument) as refused:
        await service.create("/bin/true", spec=sent_by("journald"))
    assert refused.value.reason == "NO_JOURNAL"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(journal))
        sock.setblocking(False)
        container = await service.run("/bin/echo", "hello", spec=sent_by("journald", labels="shop"))
        async with asyncio.timeout(WITHIN):
            got = await asyncio.get_running_loop().sock_recv(sock, 65536)
        fields = dict(line.split(b"=", 1) for line in got.splitlines())
        assert (fields[b"MESSAGE"], fields[b"PRIORITY"], fields[b"SHOP"]) == (b"hello", b"6", b"north")
        assert fields[b"CONTAINER_ID_FULL"] == container.encode()
        await service.remove(container)


async def test_what_rotation_takes_before_it_was_sent_is_counted(service: Execd) -> None:
    spec = sent_by("syslog", syslog_address=f"tcp://127.0.0.1:{free_port()}", cache_max_size="2k", cache_max_file="2",
                   cache_compress="false", mode="non-blocking", max_buffer_size="1k")
    container = await service.run(*COUNT, spec=spec)
    await service.wait(container)
    async with asyncio.timeout(WITHIN):
        while not (await service.get(container)).status.log_bytes_lost:
            await asyncio.sleep(0.01)
    assert b"line 199" in await service.logs(container)
    await service.remove(container)


async def test_a_removal_sends_the_rest_first_and_a_log_whose_cache_is_off_is_not_read(service: Execd) -> None:
    sink, path = Sink(), service.base / "log.sock"
    async with listening(sink, lambda: asyncio.start_unix_server(sink.serve, path)):
        spec = sent_by("syslog", syslog_address=f"unix://{path}", cache_disabled="true")
        container = await service.run(*COUNT, spec=spec)
        await service.wait(container)
        with pytest.raises(Unimplemented):
            await service.logs(container)
        await service.remove(container)
        await sink.until(lambda data: b"bad line 200" in data)
        assert numbers(sink.data) == list(range(201))


async def test_old_files_are_compressed_and_read_as_before(service: Execd) -> None:
    spec = exec_pb2.ContainerSpec(log=exec_pb2.LogSpec(
        driver="json-file", options={"max-size": "1k", "max-file": "9", "compress": "true"}
    ))
    container = await service.run(*COUNT, spec=spec)
    await service.wait(container)
    home = Path((await service.get(container)).log_path.decode()).parent
    async with asyncio.timeout(WITHIN):
        while any(re.fullmatch(r"json\.log\.\d+", file.name) for file in home.iterdir()):
            await asyncio.sleep(0.01)
    assert list(home.glob("json.log.*.gz"))
    assert numbers(await service.logs(container)) == list(range(200))
    assert numbers(await service.logs(container, tail=150)) == list(range(51, 200))
    await service.remove(container)
