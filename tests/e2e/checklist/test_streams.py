"""Lines 1 to 7, 17 and 18: waits, hijacked streams, progress, logs, and whose standard input it is."""

import json

import pytest

from tests.e2e.wire import frames
from tests.engine import wait_until

ALL = "stream=1&stdin=1&stdout=1&stderr=1"


def start(wire, id_):
    wire.post(f"/containers/{id_}/start")


@pytest.mark.parametrize("condition, removed", [("next-exit", False), ("removed", True)])
def test_line_01_a_wait_is_in_place_before_its_head_is_sent(wire, condition, removed):
    for code in (0, 3, 0, 4):
        id_ = wire.create(Cmd=["sh", "-c", f"exit {code}"], HostConfig={"AutoRemove": removed})
        with wire.connected() as waiting:
            waiting.request(f"POST /v1.45/containers/{id_}/wait?condition={condition}")
            head = waiting.head()
            assert (head.status, head.headers["content-type"]) == (200, "application/json")
            start(wire, id_)
            assert json.loads(waiting.chunk()) == {"StatusCode": code}


@pytest.mark.parametrize("version, terminal, upgrade, status, kind", [
    ("1.45", False, True, 101, "application/vnd.docker.multiplexed-stream"),
    ("1.41", False, True, 101, "application/vnd.docker.raw-stream"),
    ("1.45", True, True, 101, "application/vnd.docker.raw-stream"),
    ("1.45", False, False, 200, "application/vnd.docker.raw-stream"),
])
def test_line_02_an_upgrade_is_101_and_frames_stand_where_there_is_no_terminal(
    wire, version, terminal, upgrade, status, kind
):
    id_ = wire.create(Cmd=["sh", "-c", "echo out; echo err >&2"], Tty=terminal)
    with wire.connected() as stream:
        stream.request(f"POST /v{version}/containers/{id_}/attach?{ALL}", upgrade=upgrade)
        head = stream.head()
        assert (head.status, head.headers["content-type"]) == (status, kind)
        assert "content-length" not in head.headers
        assert "transfer-encoding" not in head.headers
        assert head.headers.get("upgrade") == ("tcp" if upgrade else None)
        start(wire, id_)
        data = stream.rest()
    if terminal:
        assert data == b"out\r\nerr\r\n"
    else:
        assert sorted(frames(data)) == [(1, b"out\n"), (2, b"err\n")]


def test_line_03_a_half_close_is_the_inputs_end_and_output_goes_on(wire):
    for target in ("attach", "exec"):
        id_ = wire.create(Cmd=["sh", "-c", "cat; echo after"], OpenStdin=True, StdinOnce=True)
        line = f"POST /containers/{id_}/attach?{ALL}"
        body = b""
        if target == "exec":
            start(wire, id_)
            made = wire.post(f"/containers/{id_}/exec", {
                "Cmd": ["sh", "-c", "cat; echo after"], "AttachStdin": True, "AttachStdout": True}).json
            line, body = f"POST /exec/{made['Id']}/start", b'{"Detach": false}'
        with wire.connected() as stream:
            stream.request(line, body, upgrade=True)
            assert stream.head().status == 101
            if target == "attach":
                start(wire, id_)
            stream.send(b"before\n")
            stream.finish_input()
            assert b"".join(data for _, data in frames(stream.rest())) == b"before\nafter\n"


def test_line_04_bytes_that_come_with_a_head_are_not_lost(wire):
    id_ = wire.create(Cmd=["cat"], OpenStdin=True, StdinOnce=True)
    with wire.connected() as stream:
        stream.request(f"POST /containers/{id_}/attach?{ALL}", upgrade=True, glued=b"glued\n")
        start(wire, id_)
        assert stream.head().status == 101
        assert stream.frame() == (1, b"glued\n")
        made = wire.post(f"/containers/{id_}/exec", {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True}).json
        with wire.connected() as other:
            other.request(f"POST /exec/{made['Id']}/start", b'{"Detach": false}', upgrade=True, glued=b"to the body\n")
            other.finish_input()
            assert other.head().status == 101
            assert frames(other.rest()) == [(1, b"to the body\n")]


def test_line_05_a_stream_ends_after_its_last_byte_and_an_execs_code_is_there_by_then(wire):
    id_ = wire.run("sleep 1000")
    for code in range(8):
        command = ["sh", "-c", f"head -c 300000 /dev/zero; exit {code}"]
        made = wire.post(f"/containers/{id_}/exec", {"Cmd": command, "AttachStdout": True}).json["Id"]
        with wire.connected() as stream:
            stream.request(f"POST /exec/{made}/start", b'{"Detach": false}', upgrade=True)
            stream.head()
            assert sum(len(data) for _, data in frames(stream.rest())) == 300000
        found = wire.get(f"/exec/{made}/json")
        assert (found["ExitCode"], found["Running"]) == (code, False)


@pytest.mark.parametrize("command, code, words", [
    (["true"], 0, b""), (["nosuchcommand"], 127, b"executable file not found"),
])
def test_line_05_input_that_nobody_reads_breaks_no_stream_off(wire, command, code, words):
    id_ = wire.run("sleep 1000")
    made = wire.post(f"/containers/{id_}/exec", {"Cmd": command, "AttachStdin": True, "AttachStdout": True}).json["Id"]
    with wire.connected() as stream:
        stream.request(f"POST /exec/{made}/start", b'{"Detach": false}', upgrade=True)
        stream.head()
        stream.send(b"x" * 100_000)
        assert words in stream.rest()
    assert wire.get(f"/exec/{made}/json")["ExitCode"] == code


def test_line_06_what_fails_before_a_streams_first_byte_has_a_status_and_later_an_error_object(wire):
    assert wire.call("POST", "/images/create?fromImage=127.0.0.1:1/app&tag=1").status == 500
    assert wire.call("POST", "/build?dockerfile=nosuch", b"").status in (400, 500)
    answer = wire.call("POST", "/images/load", b"this is no archive")
    assert answer.status == 200
    assert answer.objects[-1]["errorDetail"]["message"] == answer.objects[-1]["error"]


def test_line_07_each_line_is_sent_when_it_is_there(wire):
    id_ = wire.run("echo one; while [ ! -e /go ]; do usleep 1000; done; echo two")
    with wire.connected() as stream:
        stream.request(f"GET /containers/{id_}/logs?follow=1&stdout=1", headers={"Accept-Encoding": "gzip"})
        head = stream.head()
        assert head.headers["transfer-encoding"] == "chunked"
        assert "content-encoding" not in head.headers
        assert frames(stream.chunk()) == [(1, b"one\n")]
        made = wire.post(f"/containers/{id_}/exec", {"Cmd": ["touch", "/go"]}).json["Id"]
        wire.post(f"/exec/{made}/start", {"Detach": True})
        assert frames(stream.chunk()) == [(1, b"two\n")]
        assert stream.chunk() == b""


def test_line_17_logs_are_cut_by_time_and_tail_and_stamped_with_nine_digits(wire):
    id_ = wire.run("echo one; echo two >&2; echo three; printf end")
    wire.post(f"/containers/{id_}/wait")
    path = f"/containers/{id_}/logs?stdout=1&stderr=1"

    def read(query):
        return frames(wire.call("GET", path + query).body)

    stamped = [data for _, data in read("&timestamps=1")]
    stamps = [data.split(b" ")[0].decode() for data in stamped]
    assert {len(stamp) for stamp in stamps} == {len("2026-01-01T00:00:00.000000000Z")}
    assert sorted(data.split(b" ", 1)[1] for data in stamped) == [b"end", b"one\n", b"three\n", b"two\n"]
    assert len(read("&tail=2")) == 2
    assert read("&tail=0") == []
    assert len(read("&tail=all")) == len(read("&tail=word")) == 4
    began = wire.get(f"/containers/{id_}/json")["State"]["StartedAt"]
    assert read("&until=1.5") == []
    assert len(read("&since=1.123456789")) == 4
    assert read("&since=4000000000.5") == []
    assert began
    assert wire.call("GET", path + "&since=yesterday").status == 400
    answer = wire.call("GET", f"/containers/{id_}/logs")
    assert (answer.status, "at least one" in answer.message) == (400, True)


def test_line_17_a_line_of_many_blocks_comes_back_without_a_break_and_a_follow_ends_with_the_container(wire):
    id_ = wire.run("head -c 40000 /dev/zero | tr '\\0' x; echo; sleep 0.05; echo end")
    with wire.connected() as stream:
        stream.request(f"GET /containers/{id_}/logs?follow=1&stdout=1&timestamps=1")
        stream.head()
        data = b""
        while piece := stream.chunk():
            data += piece
    lines = b"".join(payload for _, payload in frames(data)).splitlines()
    assert [line.split(b" ", 1)[1] for line in lines] == [b"x" * 40000, b"end"]


def test_line_18_the_first_clients_end_is_the_inputs_end_only_where_that_was_asked_for(wire):
    id_ = wire.create(Cmd=["cat"], OpenStdin=True)
    start(wire, id_)
    for word in (b"first\n", b"second\n"):
        with wire.connected() as stream:
            stream.request(f"POST /containers/{id_}/attach?{ALL}", upgrade=True)
            stream.head()
            stream.send(word)
            stream.finish_input()
            assert stream.frame() == (1, word)
    assert wire.get(f"/containers/{id_}/json")["State"]["Running"]
    once = wire.create(Cmd=["cat"], OpenStdin=True, StdinOnce=True)
    start(wire, once)
    with wire.connected() as stream:
        stream.request(f"POST /containers/{once}/attach?{ALL}", upgrade=True)
        stream.head()
    wait_until(lambda: wire.get(f"/containers/{once}/json")["State"]["Status"] == "exited", what="cat ends")
