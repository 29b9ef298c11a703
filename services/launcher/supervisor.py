"""The supervisor: keeps an instance's programs running, with back-off, until it is told to stop.

A program that ends is started again after 0.1, 0.2, 0.4, … seconds, at most 10; one that ran for 10 seconds begins at
0.1 again. SIGTERM or SIGINT stops them in reverse order: SIGTERM, and SIGKILL after 10 seconds; one that ``stays`` is
left where it does not end within half a second. SIGHUP is handed on to the services, which read their configuration
again. Containers belong to their shims and notice nothing.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chassis.instance import Instance, make_private
from launcher.listeners import Listeners
from launcher.programs import Program, environment
from launcher.spawn import spawn

_FIRST_DELAY: Final = 0.1
_LONGEST_DELAY: Final = 10.0
_STOP_TIMEOUT: Final = 10.0
_STAY_TIMEOUT: Final = 0.5
_LOG_LIMIT: Final = 10 << 20
_LOG_CHECK: Final = 60.0


@dataclass
class _Child:
    program: Program
    pid: int = 0
    started: float = 0.0
    delay: float = 0.0
    due: float = 0.0


class Supervisor:
    """Runs the programs of one instance. ``run`` returns when all have stopped."""

    def __init__(self, instance: Instance, programs: tuple[Program, ...], listeners: Listeners) -> None:
        self._instance = instance
        self._listeners = listeners
        self._children = [_Child(program) for program in programs]
        self._logs = instance.root / "log"
        self._stopping = self._reloading = False
        self._wake, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._reload)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def run(self) -> None:
        make_private(self._logs)
        next_log_check = time.monotonic() + _LOG_CHECK
        while not self._stopping:
            now = time.monotonic()
            for child in self._children:
                if not child.pid and now >= child.due:
                    self._start(child)
            if now >= next_log_check:
                self._rotate_logs()
                next_log_check = now + _LOG_CHECK
            waiting = [child.due for child in self._children if not child.pid]
            self._sleep(min([next_log_check, *waiting]) - time.monotonic())
            self._reap()
            if self._reloading:
                self._hand_on()
        self._stop_all()

    def _start(self, child: _Child) -> None:
        listeners = self._listeners.of(child.program.name) if child.program.listens else {}
        child.pid = spawn(child.program, environment(), self._log(child), listeners)
        child.started = time.monotonic()
        self._pid_file(child).write_text(f"{child.pid}\n")
        _say(f"{child.program.name} started, pid {child.pid}")

    def _reap(self) -> None:
        """Take the ends of our own children, by pid: nobody else's."""
        for child in self._children:
            if not child.pid:
                continue
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(child.pid, os.WNOHANG)
                if pid:
                    self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: _Child, code: int) -> None:
        now = time.monotonic()
        if now - child.started >= _LONGEST_DELAY:
            child.delay = 0.0
        child.delay = min(max(_FIRST_DELAY, child.delay * 2), _LONGEST_DELAY)
        child.pid, child.due = 0, now + child.delay
        self._pid_file(child).unlink(missing_ok=True)
        if not self._stopping:
            how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
            _say(f"{child.program.name} ended ({how}), again in {child.delay:.1f} s")

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _reload(self, _number: int, _frame: object) -> None:
        self._reloading = True

    def _hand_on(self) -> None:
        """SIGHUP to the services; the zygote and the resolver have no configuration."""
        self._reloading = False
        for child in self._children:
            if child.pid and child.program.listens:
                os.kill(child.pid, signal.SIGHUP)

    def _stop_all(self) -> None:
        for child in reversed(self._children):
            if not child.pid:
                continue
            os.kill(child.pid, signal.SIGTERM)
            deadline = time.monotonic() + (_STAY_TIMEOUT if child.program.stays else _STOP_TIMEOUT)
            while child.pid and time.monotonic() < deadline:
                self._sleep(deadline - time.monotonic())
                self._reap()
            if child.pid and child.program.stays:
                _say(f"{child.program.name} stays, pid {child.pid}")
            elif child.pid:
                _say(f"{child.program.name} did not stop within {_STOP_TIMEOUT:.0f} s: killed")
                os.kill(child.pid, signal.SIGKILL)
                os.waitpid(child.pid, 0)
                self._pid_file(child).unlink(missing_ok=True)
                child.pid = 0

    def _sleep(self, seconds: float) -> None:
        select.select([self._wake], [], [], max(0.0, seconds))
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)

    def _rotate_logs(self) -> None:
        """Copy and truncate what has grown: the services keep their descriptors, opened for appending. On a full disk
        there is no copy."""
        for child in self._children:
            log = self._log(child)
            if log.exists() and log.stat().st_size > _LOG_LIMIT:
                older = log.with_suffix(".log.1")
                try:
                    older.write_bytes(log.read_bytes())
                except OSError:
                    older.unlink(missing_ok=True)
                os.truncate(log, 0)

    def _log(self, child: _Child) -> Path:
        return self._logs / f"{child.program.name}.log"

    def _pid_file(self, child: _Child) -> Path:
        return self._instance.run / f"{child.program.name}.pid"


def _say(text: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with contextlib.suppress(OSError):  # a full disk ends no service
        os.write(1, f"{stamp} launcher: {text}\n".encode())
