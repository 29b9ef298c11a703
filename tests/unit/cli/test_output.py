"""What reaches the eye: tables, sizes, times, JSON, progress, and nothing that drives the terminal."""

from __future__ import annotations

import datetime as dt
import json
import os
import pty
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier_cli import codec, out, units
from pier_cli.failure import Failure
from pier_cli.formats import print_list
from pier_cli.gotemplate import Fields
from pier_cli.progress import Progress, render_bar
from pier_cli.sanitize import Sanitizer
from pier_cli.tabwriter import align
from pier_cli.terminal import Escape, parse_detach_keys


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_columns_are_ten_wide_at_least_and_three_apart() -> None:
    assert align("ID\tNAME\nabcdefghijkl\tx\n") == "ID             NAME\nabcdefghijkl   x\n"
    assert align("A\tB\n1\t2\n") == "A         B\n1         2\n"


def test_a_column_is_a_run_of_lines_that_have_it() -> None:
    assert align("a\tb\tc\nx\ny\tz\n", minimum=2, padding=1) == "a b c\nx\ny z\n"


def test_width_counts_characters_not_bytes() -> None:
    assert align("é…\tx\n", minimum=0) == "é…   x\n"


@pytest.mark.parametrize(("size", "digits", "text"), [
    (0, 3, "0B"), (999, 3, "999B"), (1000, 3, "1kB"), (1982000, 3, "1.98MB"), (1982000, 4, "1.982MB"),
    (5 * 10**9, 3, "5GB"),
])
def test_decimal_sizes(size: int, digits: int, text: str) -> None:
    assert units.human_size(size, digits) == text


def test_binary_sizes() -> None:
    assert units.binary_size(25275379712) == "23.54GiB"


@pytest.mark.parametrize(("text", "size"), [
    ("0", 0), ("64", 64), ("64b", 64), ("1k", 1024), ("1KB", 1024), ("1.5GiB", 3 << 29), ("2 m", 2 << 20), ("-1", -1),
])
def test_sizes_are_read(text: str, size: int) -> None:
    assert units.parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "x", "m", "1x", "1ib", "--1", "1.2.3", "1mm"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=f"^invalid size: '{text}'$"):
        units.parse_bytes(text)


@pytest.mark.parametrize(("text", "nanoseconds"), [
    ("0", 0), ("1s", 10**9), ("1h30m", 5400 * 10**9), ("-2ms", -2 * 10**6), ("1.5us", 1500), ("+3ns", 3),
])
def test_durations_are_read(text: str, nanoseconds: int) -> None:
    assert units.parse_duration(text) == nanoseconds


@pytest.mark.parametrize(("text", "message"), [
    ("x", 'time: invalid duration "x"'), ("1", 'time: missing unit in duration "1"'),
    ("1y", 'time: unknown unit "y" in duration "1y"'),
    ("", 'time: invalid duration ""'),
])
def test_what_is_no_duration(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        units.parse_duration(text)


@pytest.mark.parametrize(("seconds", "text"), [
    (0.5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (120, "2 minutes"),
    (3599, "59 minutes"), (3600, "About an hour"), (7200, "2 hours"), (47 * 3600, "47 hours"), (48 * 3600, "2 days"),
    (13 * 86400, "13 days"), (14 * 86400, "2 weeks"), (60 * 86400, "2 months"), (2 * 365 * 86400, "2 years"),
])
def test_how_long_ago(seconds: float, text: str) -> None:
    assert units.human_duration(seconds) == text


@pytest.mark.parametrize(("text", "nanoseconds"), [
    ("1970-01-01T00:00:00Z", 0), ("2013-01-02T13:23:37Z", 1357133017 * 10**9),
    ("2024-02-29T00:00:00.5+01:00", 1709161200500000000),
    ("2020-01-01", 1577836800 * 10**9), ("1969-12-31T23:59:59Z", -(10**9)),
])
def test_time_stamps_are_read(text: str, nanoseconds: int) -> None:
    assert units.parse_stamp(text) == nanoseconds


@pytest.mark.parametrize(("text", "sent"), [
    ("1357133017", "1357133017.000000000"), ("1.5", "1.500000000"), ("0", "0.000000000"),
    ("2020-01-01", "1577836800.000000000"),
])
def test_moments_as_they_are_sent(text: str, sent: str) -> None:
    assert units.timestamp(text) == sent


def test_a_moment_may_be_so_long_ago() -> None:
    assert abs(float(units.timestamp("1h")) - (time.time() - 3600)) < 60


@pytest.mark.parametrize("text", ["x", "2020-13-01", "2020-01-01T25:00:00Z", "1-2-3"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match="failed to parse value as time or duration"):
        units.timestamp(text)


@given(st.datetimes())
def test_days_are_counted_as_the_calendar_does(moment: dt.datetime) -> None:
    assert units.epoch_days(moment.year, moment.month, moment.day) == moment.toordinal() - 719163


def test_local_times_as_docker_prints_them() -> None:
    assert units.local_time(1795572183) == "2026-11-25 02:03:03 +0000 UTC"
    assert units.local_stamp(1795572184684241899) == "2026-11-25T02:03:04.684241899Z"
    assert units.go_time("2026-11-25T02:02:48.7Z") == "2026-11-25 02:02:48.7 +0000 UTC"


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=12,
))
def test_indenting_changes_only_space(value: object) -> None:
    assert codec.indented(json.dumps(value, ensure_ascii=False)) == json.dumps(value, ensure_ascii=False, indent=4)


@pytest.mark.parametrize("text", ["", "{", "[1,]", "1 2", "nul", '{"a" 1}'])
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|Expecting|Illegal"):
        codec.loads(text)


# --- terminals

ROW = Fields("formatter.X", {"Name": lambda: "a\x1b]0;owned\x07\x9b1m"})


def read_until(leader: int, text: str) -> str:
    """What a terminal shows up to ``text``: it arrives in as many pieces as the kernel likes."""
    shown = ""
    while text not in shown:
        shown += os.read(leader, 65536).decode()
    return shown


def _through_a_terminal(show: object, monkeypatch: pytest.MonkeyPatch) -> str:
    leader, follower = pty.openpty()
    monkeypatch.setattr(out, "is_terminal", lambda _: True)
    monkeypatch.setattr(out, "write", lambda _, data: os.write(follower, data))
    try:
        assert callable(show)
        show()
        out.flush()
        os.write(follower, b"END")
        return read_until(leader, "END").removesuffix("END").replace("\r\n", "\n")
    finally:
        os.close(leader)
        os.close(follower)


def test_70_a_name_cannot_drive_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = _through_a_terminal(lambda: print_list("", "{{.Name}}", {"Name": "NAME"}, [ROW]), monkeypatch)
    assert shown == "NAME\na\\x1b]0;owned\\a\\x9b1m\n"


def test_a_program_gets_the_name_as_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    print_list("{{.Name}}", "", {}, [ROW])
    out.flush()
    assert capfd.readouterr().out == "a\x1b]0;owned\x07\x9b1m\n"


def test_log_lines_keep_colours_and_nothing_else() -> None:
    guard = Sanitizer()
    assert guard.feed(b"\x1b[1;31mred\x1b[0m\r\n\t\x1b[2J\x07\x7f") == b"\x1b[1;31mred\x1b[0m\r\n\t\\x1b[2J\\x07\\x7f"
    assert guard.feed("\x9b5n é".encode()) == b"\\x9b5n \xc3\xa9"
    assert guard.feed(b"x\x1b[3") + guard.feed(b"1m") == b"x\x1b[31m"
    assert guard.feed(b"\x1b[") + guard.finish() == b"\\x1b["


@given(st.binary(max_size=60), st.integers(1, 7))
def test_no_cut_lets_a_control_byte_through(data: bytes, size: int) -> None:
    whole = Sanitizer()
    expected = whole.feed(data) + whole.finish()
    pieces = Sanitizer()
    got = b"".join(pieces.feed(data[start: start + size]) for start in range(0, len(data), size)) + pieces.finish()
    assert got == expected
    for index, byte in enumerate(got):
        assert byte >= 32 or byte in (9, 10, 13) or got[index: index + 2] == b"\x1b["


@pytest.mark.parametrize(("text", "keys"), [
    ("ctrl-p,ctrl-q", b"\x10\x11"), ("a,ctrl-@,ctrl-[", b"a\0\x1b"), ("ctrl-_", b"\x1f"),
])
def test_detach_keys(text: str, keys: bytes) -> None:
    assert parse_detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ab", "ctrl-p,,x"])
def test_what_are_no_detach_keys(text: str) -> None:
    with pytest.raises(Failure, match="invalid detach keys"):
        parse_detach_keys(text)


def test_detach_keys_are_found_across_reads_and_what_only_began_like_them_is_sent() -> None:
    escape = Escape(b"\x10\x11")
    assert escape.feed(b"ab\x10") == (b"ab", False)
    assert escape.feed(b"x\x10\x10") == (b"\x10x\x10", False)
    assert escape.feed(b"\x11rest") == (b"", True)


@given(st.lists(st.binary(max_size=5)))
def test_input_without_detach_keys_passes_unchanged(pieces: list[bytes]) -> None:
    escape = Escape(b"\x10\x11")
    sent = b""
    for piece in pieces:
        data, detached = escape.feed(piece)
        sent += data
        if detached:
            return
    whole = b"".join(pieces)
    assert whole.startswith(sent)
    assert whole[len(sent):] in (b"", b"\x10")


MESSAGES: list[dict[str, Any]] = [
    {"status": "Pulling from bb", "id": "1"}, {"status": "Pulling fs layer", "progressDetail": {}, "id": "abc"},
    {"status": "Downloading", "progressDetail": {"current": 5, "total": 10}, "progress": "[=>] 5B/10B", "id": "abc"},
    {"status": "Pull complete", "progressDetail": {}, "id": "abc"}, {"status": "Digest: sha256:x"},
    {"stream": "Loaded image: x\n"}, {"progressDetail": {}, "aux": {"Tag": "1"}},
]


def test_progress_elsewhere_is_lines_without_bars(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("wb") as file:
        Progress(file.fileno()).follow(MESSAGES)
    assert path.read_text() == (
        "1: Pulling from bb\nabc: Pulling fs layer\nabc: Pull complete\nDigest: sha256:x\nLoaded image: x\n"
    )


def test_progress_on_a_terminal_rewrites_the_layers_line() -> None:
    leader, follower = pty.openpty()
    try:
        Progress(follower).follow(MESSAGES[:4])
        shown = read_until(leader, "Pull complete\r\x1b[1B")
    finally:
        os.close(leader)
        os.close(follower)
    assert shown.startswith("1: Pulling from bb\r\n\r\n")
    assert shown.count("\x1b[2K") == 3
    assert "\x1b[1A\x1b[2K\rabc: Pull complete\r\x1b[1B" in shown
    assert "5B/10B" in shown


def test_an_error_in_a_stream_ends_it_with_its_code() -> None:
    with pytest.raises(Failure, match="no space") as caught:
        Progress(-1).follow([{"errorDetail": {"message": "no space", "code": 23}, "error": "no space"}])
    assert caught.value.code == 23


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 300))
def test_a_bar_fits_its_line(current: int, total: int, columns: int) -> None:
    assert len(render_bar(current, total, columns)) <= max(columns - 35, 25)
