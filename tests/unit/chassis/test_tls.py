"""TLS pumps: what goes in at one end comes out at the other, half-close included, and strangers are told why not."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis import tls
from tests import certificates

ADDRESS = "127.0.0.1"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[certificates.Pair, certificates.Pair]:
    directory = tmp_path_factory.mktemp("tls")
    return certificates.make(directory, "server", ADDRESS), certificates.make(directory, "client", ADDRESS)


def context(kind: int, own: certificates.Pair | None, trusted: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(kind)
    made.load_verify_locations(trusted)
    made.verify_mode = ssl.CERT_REQUIRED
    if own is not None:
        made.load_cert_chain(*own)
    return made


class Line:
    """A client and a server with a pump each between them; ``client`` and ``server`` are their plain sockets."""

    def __init__(self, pairs: tuple[certificates.Pair, certificates.Pair], own: certificates.Pair | None) -> None:
        server, client = pairs
        near, far = socket.socketpair()
        self.errors: list[Exception] = []
        inner, self.client = socket.socketpair()
        inner2, self.server = socket.socketpair()
        pumps = [
            tls.Pump(near, inner, context(ssl.PROTOCOL_TLS_CLIENT, own, server.certificate), hostname=ADDRESS),
            tls.Pump(far, inner2, context(ssl.PROTOCOL_TLS_SERVER, server, client.certificate)),
        ]
        self._threads = [threading.Thread(target=self._run, args=(pump,)) for pump in pumps]
        for thread in self._threads:
            thread.start()

    def _run(self, pump: tls.Pump) -> None:
        try:
            tls.run(pump)
        except (ssl.SSLError, OSError) as error:
            self.errors.append(error)
        finally:
            pump.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.server.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


def say(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while part := sock.recv(1 << 16):
        data += part
    return data


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 300_000), max_size=4), st.lists(st.integers(1, 300_000), max_size=4))
def test_whatever_is_sent_arrives_and_an_end_ends_one_direction(
    pairs: tuple[certificates.Pair, certificates.Pair], up: list[int], down: list[int]
) -> None:
    with Line(pairs, pairs[1]) as line:
        sent = [bytes([n % 251]) * size for n, size in enumerate(up)]
        sender = threading.Thread(target=say, args=(line.client, b"".join(sent)))
        sender.start()
        assert read_all(line.server) == b"".join(sent)
        sender.join()
        # The client has said all, and is still answered.
        answer = [bytes([n % 247]) * size for n, size in enumerate(down)]
        replier = threading.Thread(target=say, args=(line.server, b"".join(answer)))
        replier.start()
        assert read_all(line.client) == b"".join(answer)
        replier.join()
    assert not line.errors


def test_who_shows_no_certificate_or_a_strangers_gets_nothing(
    pairs: tuple[certificates.Pair, certificates.Pair], tmp_path: Path
) -> None:
    for own in (None, certificates.make(tmp_path, "stranger", ADDRESS)):
        with Line(pairs, own) as line:
            line.client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert line.server.recv(1) == b""
        assert any(isinstance(error, ssl.SSLError) for error in line.errors)


def test_a_server_that_is_another_is_not_spoken_to(
    pairs: tuple[certificates.Pair, certificates.Pair], tmp_path: Path
) -> None:
    other = certificates.make(tmp_path, "other", ADDRESS)
    near, far = socket.socketpair()
    inner, plain = socket.socketpair()
    pump = tls.Pump(near, inner, context(ssl.PROTOCOL_TLS_CLIENT, pairs[1], other.certificate), hostname=ADDRESS)
    server = context(ssl.PROTOCOL_TLS_SERVER, pairs[0], pairs[1].certificate)

    def serve() -> None:
        with pytest.raises(ssl.SSLError), server.wrap_socket(far, server_side=True):
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises(ssl.SSLCertVerificationError):
        tls.run(pump)
    thread.join()
    pump.close()
    plain.close()


async def test_on_a_loop_a_client_that_vanishes_ends_its_pump(
    pairs: tuple[certificates.Pair, certificates.Pair]
) -> None:
    near, far = socket.socketpair()
    inner, plain = socket.socketpair()
    pump = tls.Pump(far, inner, context(ssl.PROTOCOL_TLS_SERVER, pairs[0], pairs[1].certificate))
    serving: asyncio.Task[Any] = asyncio.create_task(tls.serve(pump))
    client = context(ssl.PROTOCOL_TLS_CLIENT, pairs[1], pairs[0].certificate)

    def speak() -> None:
        with client.wrap_socket(near, server_hostname=ADDRESS) as connection:
            connection.sendall(b"hello")

    await asyncio.to_thread(speak)
    plain.setblocking(False)
    loop = asyncio.get_running_loop()
    assert await loop.sock_recv(plain, 16) == b"hello"
    assert await loop.sock_recv(plain, 16) == b""
    plain.close()
    await asyncio.wait({serving}, timeout=30)
    assert serving.done()
    pump.close()
