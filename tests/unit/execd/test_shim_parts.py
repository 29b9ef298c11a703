"""The shim's parts that need no container."""

from __future__ import annotations

import errno
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis import attach
from chassis.errors import InvalidArgument
from execd.shim import jsonlog, record
from execd.shim.jsonlog import JsonLog
from execd.shim.protocol import Exit


def read(path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def joined(path, stream="stdout") -> str:
    return "".join(item["log"] for item in read(path) if item["stream"] == stream)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.text().map(lambda text: text.encode("utf-8", "replace")))))
def test_whatever_is_written_comes_back_stream_by_stream(tmp_path, pieces) -> None:
    path = tmp_path / "log"
    path.unlink(missing_ok=True)
    log = JsonLog(str(path), 0, 1, lambda *_: None)
    for stream, data in pieces:
        log.write(stream, data)
    log.close()
    for number, name in ((1, "stdout"), (2, "stderr")):
        assert joined(path, name).encode() == b"".join(data for stream, data in pieces if stream == number)


@given(st.binary(max_size=70000), st.integers(0, 3))
def test_no_piece_is_longer_than_a_record_and_none_is_lost(data, newlines) -> None:
    data = data.replace(b"\n", b"") if newlines == 0 else data
    pieces = jsonlog.split_long(data)
    assert b"".join(pieces) == data
    for piece in pieces:
        assert all(len(line) <= jsonlog.RECORD_MAX + 1 for line in piece.split(b"\n"))


def test_a_backslash_before_an_n_is_no_newline(tmp_path) -> None:
    log = JsonLog(str(tmp_path / "log"), 0, 1, lambda *_: None)
    log.write(1, b'a\\nb"\x00\n\\\n')
    log.close()
    assert [item["log"] for item in read(tmp_path / "log")] == ['a\\nb"\x00\n', "\\\n"]


def test_a_long_line_becomes_partial_records_that_tear_no_character(tmp_path) -> None:
    log = JsonLog(str(tmp_path / "log"), 0, 1, lambda *_: None)
    data = ("é" * 20000).encode()
    for start in range(0, len(data), 65536 // 3):
        log.write(1, data[start : start + 65536 // 3])
    log.write(1, b"\n")
    log.close()
    records = [item["log"] for item in read(tmp_path / "log")]
    assert "".join(records) == "é" * 20000 + "\n"
    assert all(len(item.encode()) <= jsonlog.RECORD_MAX for item in records)
    assert [item.endswith("\n") for item in records] == [False] * (len(records) - 1) + [True]


def test_rotation_keeps_the_newest_files_and_whole_records(tmp_path) -> None:
    path = tmp_path / "log"
    log = JsonLog(str(path), 10000, 3, lambda *_: None)
    for number in range(1000):
        log.write(1, b"line %d\n" % number)
    log.close()
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1", "log.2"]
    lines = [item["log"] for name in ("log.2", "log.1", "log") for item in read(tmp_path / name)]
    assert lines == [f"line {number}\n" for number in range(1000 - len(lines), 1000)]
    assert all(path.with_name(name).stat().st_size <= 10000 for name in os.listdir(tmp_path))


def test_a_full_disk_is_counted_and_leaves_whole_records(tmp_path, monkeypatch) -> None:
    losses = []
    log = JsonLog(str(tmp_path / "log"), 0, 1, lambda *loss: losses.append(loss))
    log.write(1, b"kept\n")
    real, calls = os.write, []

    def full(fd, data):
        calls.append(len(data))
        if len(calls) == 1:
            return real(fd, bytes(data[:10]))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    log.write(1, b"lost\nlost too\n")
    monkeypatch.setattr(os, "write", real)
    log.write(1, b"kept again\n")
    log.close()
    assert joined(tmp_path / "log") == "kept\nkept again\n"
    assert losses == [(14, 2, "No space left on device")]
    assert (log.lost_bytes, log.lost_records) == (14, 2)


def test_a_log_that_ends_inside_a_record_goes_on_with_a_new_one(tmp_path) -> None:
    (tmp_path / "log").write_bytes(b'{"log":"whole\\n","stream":"stdout","time":"x"}\n{"log":"to')
    log = JsonLog(str(tmp_path / "log"), 0, 1, lambda *_: None)
    log.write(1, b"next\n")
    log.close()
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert json.loads(lines[-1])["log"] == "next\n"


def test_an_exit_record_is_read_as_it_was_written(tmp_path) -> None:
    path = str(tmp_path / "exit")
    assert record.read(path) is None
    exit_ = Exit(137, 9, True, 1_700_000_000_123_456_789)
    record.write(path, exit_)
    assert record.read(path) == exit_
    assert os.listdir(tmp_path) == ["exit"]


def test_an_exit_record_has_its_room_before_and_takes_it_over_from_one_that_was_never_written(tmp_path) -> None:
    path = str(tmp_path / "exit")
    for _ in range(2):
        record.reserve(path)
        assert record.read(path) is None
        assert (tmp_path / "exit.new").stat().st_blocks > 0
    exit_ = Exit(0, 0, False, 1)
    record.write(path, exit_)
    assert record.read(path) == exit_
    assert os.listdir(tmp_path) == ["exit"]


@given(st.binary(), st.binary(min_size=1, max_size=4), st.data())
def test_detach_keys_are_found_wherever_the_pieces_break(data, keys, draw) -> None:
    whole = data + keys
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(whole)))))
    matcher = attach.DetachMatcher(keys)
    given_on = b""
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        passed, detached = matcher.feed(whole[start:end])
        given_on += passed
        if detached:
            break
    else:
        raise AssertionError("not found")
    assert given_on == whole[: whole.find(keys)]


@given(st.lists(st.binary()))
def test_without_the_detach_keys_every_byte_is_given_on(pieces) -> None:
    matcher = attach.DetachMatcher(b"\x10\x11")
    whole = b"".join(pieces).replace(b"\x10\x11", b"")
    passed, detached = matcher.feed(whole)
    assert not detached
    assert passed + matcher.rest() == whole


@pytest.mark.parametrize(
    "keys, expected", [("ctrl-p,ctrl-q", b"\x10\x11"), ("a", b"a"), ("ctrl-@,x,ctrl-[", b"\x00x\x1b")]
)
def test_detach_keys_in_dockers_grammar(keys, expected) -> None:
    assert attach.parse_detach_keys(keys) == expected


@pytest.mark.parametrize("keys", ["", "ctrl-", "ctrl-pp", "ab", "ctrl-1", "é"])
def test_what_is_no_key_is_refused(keys) -> None:
    with pytest.raises(InvalidArgument):
        attach.parse_detach_keys(keys)


@given(st.binary())
def test_no_handshake_line_does_anything_but_parse_or_be_refused(line) -> None:
    try:
        reason = ""
        attach.decode_request(line)
    except InvalidArgument as error:
        reason = error.reason
    assert reason in ("", "BAD_REQUEST", "BAD_VERSION")


def test_a_handshake_is_read_as_it_was_written() -> None:
    request = attach.AttachRequest("init", True, True, False, True, "ctrl-p")
    assert attach.decode_request(attach.encode_request(request)) == request
    assert attach.decode_answer(attach.encode_answer()) == ("", "")
    assert attach.decode_answer(attach.encode_answer("no", "ENDED")) == ("no", "ENDED")
