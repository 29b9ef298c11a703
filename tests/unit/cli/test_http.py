"""The command's HTTP client, against a socket that answers byte by byte as told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier_cli.engine import Engine, encode_query, parse_host, quote, version_key
from pier_cli.failure import EngineError, Failure, Unreachable
from pier_cli.frames import take_frames
from pier_cli.http import Broken, Connection
from tests.unit.cli.server import PING, json_answer, serving


def test_the_api_version_is_the_smaller_of_both_sides(tmp_path: Path) -> None:
    with serving(tmp_path / "s", PING, json_answer('{"a":1}')) as server:
        assert Engine(server.host).call("GET", "/x") == {"a": 1}
    assert server.requests[0].startswith(b"HEAD /_ping HTTP/1.1\r\n")
    assert server.requests[1].startswith(b"GET /v1.41/x HTTP/1.1\r\n")


def test_an_engine_newer_than_the_command_is_spoken_to_in_the_commands_version(tmp_path: Path) -> None:
    with serving(tmp_path / "s", PING.replace(b"1.41", b"1.99")) as server:
        assert Engine(server.host).version == "1.51"


def test_a_given_version_asks_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "s", json_answer("[]")) as server:
        Engine(server.host, "1.30").call("GET", "/x")
    assert server.requests[0].startswith(b"GET /v1.30/x ")


def test_requests_share_a_connection(tmp_path: Path) -> None:
    with serving(tmp_path / "s", PING, json_answer("1"), json_answer("2")) as server:
        engine = Engine(server.host)
        assert [engine.call("GET", "/a"), engine.call("GET", "/b")] == [1, 2]
    assert server.connections == 1


def test_an_engine_that_closes_is_connected_to_again(tmp_path: Path) -> None:
    with serving(tmp_path / "s", json_answer("1", extra="Connection: close\r\n"), json_answer("2")) as server:
        engine = Engine(server.host, "1.41")
        assert [engine.call("GET", "/a"), engine.call("GET", "/b")] == [1, 2]
    assert server.connections == 2


def test_a_body_is_sent_with_its_length_and_type(tmp_path: Path) -> None:
    with serving(tmp_path / "s", json_answer("null", "201 Created")) as server:
        assert Engine(server.host, "1.41").call("POST", "/x", (("name", "a/b c"),), {"K": "é"}) is None
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1.41/x?name=a%2Fb%20c HTTP/1.1\r\n")
    assert b"Content-Type: application/json" in head
    assert body == '{"K":"é"}'.encode()


def test_bytes_of_the_command_line_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    with serving(tmp_path / "s", json_answer("null")) as server:
        Engine(server.host, "1.41").call("POST", "/x", (), {"K": b"a\xff".decode("utf-8", "surrogateescape")})
    assert server.requests[0].endswith('{"K":"a�"}'.encode())


@pytest.mark.parametrize(("answer", "text"), [
    (json_answer('{"message":"No such container: x"}', "404 Not Found"), "No such container: x"),
    (b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nno!\n", "no!"),
    (json_answer("{broken", "500 Internal Server Error"), "{broken"),
    (json_answer("", "503 Service Unavailable"), "HTTP status 503"),
])
def test_an_error_is_told_in_dockers_words(tmp_path: Path, answer: bytes, text: str) -> None:
    with serving(tmp_path / "s", answer) as server, pytest.raises(EngineError) as caught:
        Engine(server.host, "1.41").call("GET", "/x")
    assert caught.value.message == f"Error response from daemon: {text}"


def test_no_engine_is_told_with_its_address(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=f"unix://{tmp_path}/none: No such file or directory"):
        Engine(f"unix://{tmp_path}/none").call("GET", "/x")


def test_chunks_are_joined_and_their_extensions_and_trailers_ignored(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = head + b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\n"
    with serving(tmp_path / "s", answer) as server:
        assert Engine(server.host, "1.41").call_raw("GET", "/x") == "abc0123456789"


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n9\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nxyz\r\n",
    b"SSH-2.0 Connection: close\r\n\r\n",
])
def test_an_answer_cut_short_or_malformed_is_an_error(tmp_path: Path, answer: bytes) -> None:
    with serving(tmp_path / "s", answer) as server, pytest.raises(Broken):
        Engine(server.host, "1.41").call("GET", "/x")


def test_objects_come_one_by_one_whatever_the_chunks_cut(tmp_path: Path) -> None:
    raw = '{"status":"é→😀"}\r\n{"n":[1,{"m":2}]}{"last":true}\n'.encode()

    def drip(connection: socket.socket, held: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for byte in raw:
            connection.sendall(b"1\r\n" + bytes((byte,)) + b"\r\n")
        connection.sendall(b"0\r\n\r\n")

    with serving(tmp_path / "s", drip) as server:
        objects = list(Engine(server.host, "1.41").request("GET", "/x").objects())
    assert objects == [{"status": "é→😀"}, {"n": [1, {"m": 2}]}, {"last": True}]


def test_an_object_that_does_not_end_is_an_error(tmp_path: Path) -> None:
    answer = json_answer('{"a":1}{"b":')
    with serving(tmp_path / "s", answer) as server:
        objects = Engine(server.host, "1.41").request("GET", "/x").objects()
        assert next(objects) == {"a": 1}
        with pytest.raises(Broken):
            next(objects)


@pytest.mark.parametrize("head", [
    b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n",
])
def test_a_hijacked_connection_keeps_what_came_with_the_head(tmp_path: Path, head: bytes) -> None:
    seen: list[bytes] = []

    def raw(connection: socket.socket, held: bytes) -> None:
        connection.sendall(head + b"glued")
        while data := connection.recv(100):
            seen.append(data)
        connection.sendall(b" after half-close")

    with serving(tmp_path / "s", raw) as server:
        connection = Engine(server.host, "1.41").hijack("/x")
        connection.socket.sendall(b"input")
        connection.socket.shutdown(socket.SHUT_WR)
        while connection.fill():
            pass
        assert connection.buffer == b"glued after half-close"
        connection.close()
    assert b"".join(seen) == b"input"
    assert b"Upgrade: tcp" in server.requests[0]


def test_an_upload_is_sent_in_chunks_and_an_early_refusal_is_heard(tmp_path: Path) -> None:
    def refuse(connection: socket.socket, held: bytes) -> None:
        connection.sendall(json_answer('{"message":"full"}', "500 Internal Server Error"))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    blocks = iter([b"x" * 100_000] * 200)
    with serving(tmp_path / "s", refuse) as server, pytest.raises(EngineError, match="full"):
        Engine(server.host, "1.41").request("POST", "/load", (), lambda: next(blocks, b""))
    assert b"Transfer-Encoding: chunked" in server.requests[0]


def test_an_interim_answer_is_not_the_answer(tmp_path: Path) -> None:
    with serving(tmp_path / "s", b"HTTP/1.1 100 Continue\r\n\r\n" + json_answer("5")) as server:
        assert Engine(server.host, "1.41").call("GET", "/x") == 5


def test_a_head_without_an_end_is_refused(tmp_path: Path) -> None:
    def flood(connection: socket.socket, held: bytes) -> None:
        try:
            while True:
                connection.sendall(b"x" * 10_000)
        except OSError:
            pass

    with serving(tmp_path / "s", flood) as server:
        connection = Connection(socket.AF_UNIX, server.host.removeprefix("unix://"))
        with pytest.raises(Broken, match="does not end"):
            connection.request("GET", "/", {})
        connection.close()


@pytest.mark.parametrize(("host", "address"), [
    ("unix:///run/pier/pier.sock", (socket.AF_UNIX, "/run/pier/pier.sock")),
    ("/run/x.sock", (socket.AF_UNIX, "/run/x.sock")),
    ("tcp://127.0.0.1:2375", (socket.AF_INET, ("127.0.0.1", 2375))),
    ("tcp://[::1]:99", (socket.AF_INET6, ("::1", 99))),
    ("tcp://:5", (socket.AF_INET, ("127.0.0.1", 5))),
])
def test_addresses_of_engines(host: str, address: object) -> None:
    assert parse_host(host) == address


@pytest.mark.parametrize("host", ["http://x", "unix://", "tcp://x:port", "ssh://me@there", "tcp://x:99999"])
def test_an_address_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(Failure, match="unable to parse docker host"):
        parse_host(host)


def test_versions_compare_by_their_numbers() -> None:
    assert version_key("1.9") < version_key("1.24") < version_key("1.51")


def test_quoting_keeps_slashes_in_paths_only() -> None:
    assert quote("127.0.0.1:5000/a b:v1") == "127.0.0.1:5000/a%20b:v1"
    assert encode_query([("filters", '{"a":1}')]) == "filters=%7B%22a%22%3A1%7D"


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=50)), max_size=20), st.integers(1, 30))
def test_frames_survive_any_cut(frames: list[tuple[int, bytes]], size: int) -> None:
    raw = b"".join(bytes((fd, 0, 0, 0)) + len(data).to_bytes(4, "big") + data for fd, data in frames)
    held = bytearray()
    found = []
    for start in range(0, len(raw), size):
        held += raw[start: start + size]
        found += take_frames(held)
    assert found == [frame for frame in frames if frame[1]]
    assert not held


@pytest.mark.parametrize("raw", [b"HTTP/1.1", b"\x01\x00\x01\x00\x00\x00\x00\x01x", b"\x09" + bytes(7)])
def test_what_is_no_frame_is_refused(raw: bytes) -> None:
    with pytest.raises(Failure, match="Unrecognized input header"):
        take_frames(bytearray(raw))


def test_an_error_frame_is_the_engines_word() -> None:
    with pytest.raises(Failure, match="error from daemon in stream: broken"):
        take_frames(bytearray(b"\x03\0\0\0\0\0\0\x06broken"))


@pytest.mark.parametrize(("host", "authority"), [
    ("unix:///x", "pier"), ("tcp://127.0.0.1:2375", "127.0.0.1:2375"), ("tcp://[::1]:99", "[::1]:99"),
])
def test_an_engine_on_tcp_is_asked_by_its_address(host: str, authority: str) -> None:
    assert Engine(host, "1.41")._authority == authority
