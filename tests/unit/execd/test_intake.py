"""A shim that is killed between any two of its lines has a successor that logs what was read, once and in order.

A kill is played by a trace function that raises at a line: whatever the code has done by then is done, and its objects
are left as they are. A write that the kill cuts short is played as well.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from execd.shim import intake, jsonlog
from execd.shim.intake import Intake
from execd.shim.jsonlog import JsonLog

KILLED_IN = (intake.__file__, jsonlog.__file__)
Chunks = list[tuple[int, bytes]]


class Killed(BaseException):
    pass


class Kills:
    """Raises Killed at each line of intake and jsonlog whose number, counted from the last kill, comes next."""

    def __init__(self, lines: Iterator[int]) -> None:
        self._lines = lines
        self._left = next(lines, -1)
        self.passed = 0
        self.played = 0

    def __enter__(self) -> None:
        sys.settrace(self._call)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, _event: str, _arg: object) -> Any:
        return self._line if frame.f_code.co_filename in KILLED_IN else None

    def _line(self, _frame: FrameType, event: str, _arg: object) -> Any:
        if event == "line":
            self.passed += 1
            self._left -= 1
            if not self._left:
                self._left = next(self._lines, -1)
                self.played += 1
                raise Killed
        return self._line


class Scene:
    """Two pipes, held by somebody else, and the shims that follow one another at them."""

    def __init__(self, base: Path, max_bytes: int = 0) -> None:
        self.base = base
        self._max_bytes = max_bytes
        self.pipes = {stream: os.pipe2(os.O_NONBLOCK) for stream in (1, 2)}
        self.left: list[JsonLog] = []

    def shim(self) -> JsonLog:
        log = JsonLog.__new__(JsonLog)
        self.left.append(log)
        log.__init__(str(self.base / "log"), self._max_bytes, 10000,  # type: ignore[misc]  # kept though it is killed
                     lambda *loss: pytest.fail(f"lost: {loss}"), intake=Intake(str(self.base / "intake")))
        log.resume()
        return log

    def survive(self, log: JsonLog | None, work: Callable[[JsonLog], object]) -> JsonLog:
        """Have ``work`` done, by as many shims as it takes."""
        while True:
            try:
                log = log or self.shim()
                work(log)
                return log
            except Killed:
                log = None
                self._unlock()
            except BlockingIOError:
                assert log is not None
                return log

    def _unlock(self) -> None:
        """The log directory's lock of a rotation goes with its process."""
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                if os.readlink(f"/proc/self/fd/{name}") == str(self.base):
                    os.close(int(name))

    def play(self, chunks: Chunks) -> None:
        log: JsonLog | None = None
        for stream, data in chunks:
            assert os.write(self.pipes[stream][1], data) == len(data)
            log = self.survive(log, lambda log, stream=stream: self._drain(log, stream))  # type: ignore[misc]
        for stream in self.pipes:
            log = self.survive(log, lambda log, stream=stream: log.end(stream))  # type: ignore[misc]
        self.survive(log, JsonLog.close)

    def _drain(self, log: JsonLog, stream: int) -> None:
        while True:
            log.take(stream, self.pipes[stream][0])

    def logged(self) -> dict[int, bytes]:
        def age(path: Path) -> int:
            return int(path.suffix[1:]) if path.suffix[1:].isdigit() else 0

        found = {"stdout": "", "stderr": ""}
        for path in sorted(self.base.glob("log*"), key=age, reverse=True):
            for line in path.read_bytes().splitlines():
                record = json.loads(line)
                found[record["stream"]] += record["log"]
        return {1: found["stdout"].encode(), 2: found["stderr"].encode()}

    def close(self) -> None:
        for ends in self.pipes.values():
            for fd in ends:
                os.close(fd)
        for log in self.left:
            with suppress(OSError, AttributeError):  # it was closed before the kill, or never opened
                os.close(log._fd)
        for path in self.base.iterdir():
            path.unlink()


def play(base: Path, chunks: Chunks, kills: Kills, max_bytes: int = 0) -> None:
    scene = Scene(base, max_bytes)
    try:
        with kills:
            scene.play(chunks)
        logged = scene.logged()
        for stream in scene.pipes:
            assert logged[stream] == b"".join(data for of, data in chunks if of == stream)
        assert not (base / "intake").exists()
    finally:
        scene.close()


LINES: Chunks = [
    (1, b"one\ntwo\nthree without an end"), (2, b"half"), (1, b", and its end\n"), (1, b"x" * 17000),
    (2, b" and half\n"), (1, b"last"),
]


@pytest.mark.parametrize("max_bytes", [0, 9000], ids=["one file", "rotated"])
def test_a_kill_at_any_line_loses_nothing_and_doubles_nothing(tmp_path: Path, max_bytes: int) -> None:
    unhurt = Kills(iter([]))
    play(tmp_path, LINES, unhurt, max_bytes)
    assert unhurt.passed > 200
    for line in range(1, unhurt.passed + 1):
        kills = Kills(iter([line]))
        play(tmp_path, LINES, kills, max_bytes)
        assert kills.played == 1, line


class Deadly:
    def __getitem__(self, _key: object) -> bytes:
        raise Killed


def killed(*_: object, **__: object) -> Any:
    raise Killed


def test_a_kill_in_a_read_that_follows_a_kill_in_a_move_finds_only_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path)
    (read, write), log = scene.pipes[1], scene.shim()
    os.write(write, b"a longer line\nand a half")
    log.take(1, read)
    for patched, name, deadly in ((intake, "_blank", Deadly()), (Intake, "begin", killed)):
        os.write(write, b" more")
        with monkeypatch.context() as patch:
            patch.setattr(patched, name, deadly)
            with pytest.raises(Killed):
                log.take(1, read)
        log = scene.shim()
    scene.survive(log, lambda log: scene._drain(log, 1))
    log.end(1)
    assert scene.logged()[1] == b"a longer line\nand a half more more"
    scene.close()


TEXT = st.one_of(st.text(max_size=40), st.sampled_from(["\n", "a\n" * 3000, "z" * 17000, "no end"]))
CHUNKS = st.lists(st.tuples(st.sampled_from([1, 2]), TEXT.map(lambda text: text.encode("utf-8", "replace"))),
                  max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(CHUNKS, st.lists(st.integers(1, 120), max_size=40), st.sampled_from([0, 5000]))
def test_any_output_under_any_kills_is_logged_once(
    tmp_path: Path, chunks: Chunks, kills: list[int], max_bytes: int
) -> None:
    play(tmp_path, [chunk for chunk in chunks if chunk[1]], Kills(iter(kills)), max_bytes)


@pytest.mark.parametrize("renamed", [False, True])
def test_a_record_that_a_kill_has_cut_is_whole_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renamed: bool
) -> None:
    for count in range(1, 60, 7):
        scene, real = Scene(tmp_path), os.write
        log = scene.shim()

        def cut_short(fd: int, data: Any, real: Any = real, count: int = count) -> int:
            real(fd, bytes(data[:count]))
            raise Killed

        real(scene.pipes[1][1], b"a line\nanother\nand a half")
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", cut_short)
            with pytest.raises(Killed):
                log.take(1, scene.pipes[1][0])
        log = JsonLog(str(tmp_path / "log"), 0, 1, lambda *_: None, '{"tag":"other"}' if renamed else "",
                      intake=Intake(str(tmp_path / "intake")))
        scene.left.append(log)
        log.resume()
        log.end(1)
        assert scene.logged()[1] == b"a line\nanother\nand a half"
        scene.close()


def test_output_is_logged_although_the_run_directory_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    for room in range(4):
        scene, calls = Scene(tmp_path), [0]

        def full(fd: int, data: Any, offset: int, room: int = room, calls: list[int] = calls) -> int:
            calls[0] += 1
            if calls[0] > room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(fd, data, offset)

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            scene.play(LINES)
        logged = scene.logged()
        for stream in scene.pipes:
            assert logged[stream] == b"".join(data for of, data in LINES if of == stream)
        scene.close()


def test_a_full_disk_in_between_is_counted_once_and_what_follows_is_whole(tmp_path: Path) -> None:
    scene, losses = Scene(tmp_path), [0]

    def lose(count: int, *_: object) -> None:
        losses[0] += count

    log = scene.shim()
    log._on_loss = lose
    disk, log._fd = log._fd, os.open("/dev/full", os.O_WRONLY)
    os.write(scene.pipes[1][1], b"x" * 20000 + b"\nlost\nbegun")
    scene.survive(log, lambda log: scene._drain(log, 1))
    os.close(disk)
    log = scene.shim()
    os.write(scene.pipes[1][1], b", ended\n")
    scene.survive(log, lambda log: scene._drain(log, 1))
    assert losses == [20000 + len(b"\nlost\n")]
    assert scene.logged()[1] == b"begun, ended\n"
    scene.close()
