"""A log's files as one sequence: positions outlive rotation and compression, what is gone is counted."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from execd.logs import compress, files, read
from execd.logs.files import LogFiles, parts_of
from execd.logs.forward import read_position, write_position
from execd.logs.record import parse
from execd.shim import jsonlog
from execd.shim.jsonlog import JsonLog


@pytest.fixture(autouse=True)
def unprivileged(monkeypatch) -> None:
    for module in (jsonlog, files, compress):
        monkeypatch.setattr(module, "START", "user.pier.start")


def written(path: Path, most: int = 0, count: int = 3, attributes: str = "") -> JsonLog:
    return JsonLog(str(path), most, count, lambda *_: pytest.fail("something was lost"), attributes)


def text_of(line: bytes) -> str:
    record = parse(line)
    assert record is not None
    return record.data.decode().strip()


STEPS = st.lists(st.sampled_from(["write", "write", "write", "read", "compress", "remember", "reopen"]), max_size=60)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(STEPS)
def test_a_reader_gets_every_line_in_order_or_the_bytes_it_missed(tmp_path_factory, steps) -> None:
    path = tmp_path_factory.mktemp("log") / "json.log"
    log = written(path, 300, 3)
    reader, missed, count, size = LogFiles(path), 0, 0, len(jsonlog.encode(b"0000\n", 1, "x" * 30))
    seen: list[str] = []
    remembered, known = 0, 0
    for step in [*steps, "read"]:
        if step == "write":
            log.write(1, b"%04d\n" % count)
            count += 1
        elif step == "compress":
            compress.compress_old(path)
        elif step == "remember":
            remembered, known = reader.position, len(seen)
        elif step == "reopen":
            reader.close()
            reader, seen = LogFiles(path), seen[:known]
            reader.seek(remembered)
            missed += reader.missed
            seen += [""] * (reader.missed // size)
            reader.missed = 0
        else:
            for block in reader.blocks():
                seen += [""] * (reader.missed // size)  # in place of what rotation took
                reader.missed = 0
                seen += [text_of(line) for line in block]
    assert len(seen) == count
    assert all(text in ("", f"{number:04d}") for number, text in enumerate(seen))
    assert reader.position == reader.end()
    reader.close()
    log.close()


def test_a_log_is_read_whole_while_its_old_files_are_compressed(tmp_path: Path) -> None:
    path = tmp_path / "json.log"
    log = written(path, 2000, 5)
    for number in range(60):
        log.write(1, b"%d\n" % number)
    reader = LogFiles(path)
    reader.begin(None)
    lines = reader.lines()
    first = [text_of(next(lines)) for _ in range(3)]
    compress.compress_old(path)
    assert sorted(file.name for file in tmp_path.iterdir() if file.suffix == ".gz")
    with gzip.open(tmp_path / "json.log.1.gz") as file:
        assert parse(file.readline()) is not None
    assert first + [text_of(line) for line in lines] == [str(number) for number in range(60)]
    reader.close()
    for count in (0, 1, 5, 25, 40, 100):
        reader = LogFiles(path)
        reader.begin(count)
        assert [text_of(line) for line in reader.lines()] == [str(number) for number in range(60)][max(0, 60 - count):]
        reader.close()
    log.close()


def test_rotation_waits_for_nobody_and_loses_nothing_while_a_file_is_exchanged(tmp_path: Path) -> None:
    import fcntl
    import os

    path = tmp_path / "json.log"
    log = written(path, 200, 3)
    directory = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    for number in range(20):
        log.write(1, b"%d\n" % number)
    assert [part.path.name for part in parts_of(path)] == ["json.log"]
    os.close(directory)
    log.write(1, b"20\n")
    assert [part.path.name for part in parts_of(path)] == ["json.log.1", "json.log"]
    log.close()


def test_a_kill_between_the_renames_of_a_rotation_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "json.log"
    log = written(path, 200, 3)
    log.write(1, b"0\n1\n2\n")
    log.close()
    size = path.stat().st_size
    fresh = written(tmp_path / "json.log.new")
    jsonlog._say_start(fresh._fd, size)
    fresh.close()
    path.rename(tmp_path / "json.log.1")
    log = written(path, 0, 3)
    log.write(1, b"3\n")
    log.close()
    reader = LogFiles(path)
    reader.seek(0)
    assert [text_of(line) for line in reader.lines()] == ["0", "1", "2", "3"]
    assert (reader.missed, reader.position) == (0, reader.end())
    reader.close()


def test_since_is_found_without_reading_what_lies_before(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "json.log"
    with path.open("w") as file:
        for second in range(40_000):
            stamp = jsonlog.timestamp(second * 10**9)
            file.write(json.dumps({"log": f"{second}\n", "stream": "stdout", "time": stamp}) + "\n")
    reader = LogFiles(path)
    reader.begin(None, 30_000 * 10**9)
    wanted = read.Wanted(frozenset({1}), 30_000 * 10**9, None, None)
    start = reader.position
    assert start > 25_000 * 60
    batch, _, _ = read._batch(reader.lines(), wanted)
    assert batch.records[0].data == b"30000\n"
    reader.close()


def test_records_carry_their_attributes(tmp_path: Path) -> None:
    path = tmp_path / "json.log"
    log = written(path, attributes='{"tag":"web"}')
    log.write(2, b"x\n")
    log.close()
    line = path.read_bytes()
    assert line.startswith(b'{"log":"x\\n","stream":"stderr","attrs":{"tag":"web"},"time":"')
    record = parse(line)
    assert record is not None
    assert record.attributes == {"tag": "web"}


def test_a_position_is_remembered(tmp_path: Path) -> None:
    assert read_position(tmp_path / "sent") == 0
    write_position(tmp_path / "sent", 12)
    assert read_position(tmp_path / "sent") == 12
    (tmp_path / "sent").write_text("")
    assert read_position(tmp_path / "sent") == 0
