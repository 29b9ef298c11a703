"""A log's data alone, in frames or as it is, is what its records hold."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execd.logs import read
from execd.logs.record import content, parse
from pier.exec.v1 import exec_pb2

BOTH = frozenset({1, 2})
LINES = st.lists(st.builds(
    lambda data, stream, second, more: json.dumps(
        {"log": data, "stream": stream, "time": f"2026-01-02T03:04:{second:02}Z", **more}).encode(),
    st.text(), st.sampled_from(["stdout", "stderr"]), st.integers(0, 59),
    st.sampled_from([{}, {"attrs": {"a": "b"}}, {"other": 1}])), max_size=8)


def records(lines, wanted):
    return read._batch(iter(lines), wanted)[0].records


@given(LINES, st.sampled_from([frozenset({1}), frozenset({2}), BOTH]), st.sampled_from([None, 1767323050 * 10**9]),
       st.sampled_from([None, 1767323070 * 10**9]))
def test_frames_and_bytes_are_those_of_the_records(lines, streams, since, until):
    wanted = read.Wanted(streams, since, until, None)
    expected = records(lines, wanted)
    framed = read._pieces(iter(lines), read.Wanted(streams, since, until, None, form=exec_pb2.LOG_FORM_FRAMES))
    assert framed[0].data == b"".join(
        struct.pack(">B3xL", each.stream, len(each.data)) + each.data for each in expected)
    plain = read._pieces(iter(lines), read.Wanted(streams, since, until, None, form=exec_pb2.LOG_FORM_BYTES))
    assert plain[0].data == b"".join(each.data for each in expected)
    assert framed[1:] == plain[1:] == read._batch(iter(lines), wanted)[1:]


@pytest.mark.parametrize("line", [
    b"", b"{}", b"[]", b"{", b'{"log":"a"}', b'{"log":1,"stream":"stdout","time":"2026-01-02T03:04:05Z"}',
    b'{"log":"a","stream":"other","time":"2026-01-02T03:04:05Z"}',
    b'{"log":"\\udcff\\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}',
    b'{"log":"a\\n","stream":"stderr","time":"2026-01-02T03:04:05.123456789Z","attrs":{"a":"b"}}',
    b'{"log":"a","stream":"stdout","time":"2026-01-02T03:04:05Z","attrs":{}}',
])
def test_content_is_what_parse_tells_without_the_time(line):
    record = parse(line)
    assert content(line) == (None if record is None else (record.stream, record.data))


def test_a_time_that_is_none_makes_no_record():
    assert parse(b'{"log":"a","stream":"stdout","time":"2026-99-02T03:04:05Z"}') is None


@given(st.binary(max_size=60))
def test_any_bytes_are_a_record_or_none(line):
    assert content(line) is None or isinstance(content(line), tuple)
