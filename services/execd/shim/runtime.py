"""Calls of the OCI runtime, started by posix_spawn and answered when their process has been reaped."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Final

from execd.shim.loop import Loop
from execd.shim.protocol import ProtocolError, RuntimeSpec

_ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_DEFAULTS: Final = [
    signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGQUIT,
]
_UMASK: Final = 0o022
"""Directories that the runtime makes for mounts are in the container: its users pass through them, as with Docker."""
_LOG: Final = 3
_ERROR_MAX: Final = 65536
Done = Callable[[int, str], None]


class Children:
    """Who waits for which child. Processes that the runtime leaves behind become ours (subreaper); one that ends
    before its pid is known waits here while any call is under way."""

    def __init__(self) -> None:
        self._waiting: dict[int, Callable[[int, int], None]] = {}
        self._early: dict[int, tuple[int, int]] = {}
        self._calls = 0

    def reaped(self, pid: int, status: int, time_ns: int) -> None:
        """The loop's on_child."""
        callback = self._waiting.pop(pid, None)
        if callback is not None:
            callback(status, time_ns)
        elif self._calls:
            self._early[pid] = (status, time_ns)

    def wait(self, pid: int, callback: Callable[[int, int], None]) -> None:
        """``callback(status, time)`` at the end of ``pid``, at once where it has come already."""
        early = self._early.pop(pid, None)
        if early is not None:
            callback(*early)
        else:
            self._waiting[pid] = callback

    def begin(self) -> None:
        self._calls += 1

    def finish(self) -> None:
        self._calls -= 1
        if not self._calls:
            self._early.clear()


class Runtime:
    """One runtime program with its state directory, called for one container."""

    def __init__(self, loop: Loop, children: Children, spec: RuntimeSpec, container: str, run_dir: str) -> None:
        self._loop = loop
        self._children = children
        self._spec = spec
        self._container = container
        self._run_dir = run_dir
        self._count = 0

    def scratch(self, suffix: str) -> str:
        """A name in the run directory that nothing else has."""
        self._count += 1
        return os.path.join(self._run_dir, f"r{self._count}.{suffix}")

    def call(self, command: list[str], fds: list[int], done: Done) -> None:
        """Run ``runtime COMMAND… CONTAINER``; ``done(status, error text)`` when it has ended, text "" where it went
        well. ``fds`` become its 0, 1 and 2, and so the container's.

        The runtime keeps its log open while it is within the container already, where a tracer may take it
        (CVE-2016-9962): a file in memory leads nowhere on the host."""
        log = os.memfd_create("log", os.MFD_CLOEXEC)
        argv = [self._spec.path, "--root", self._spec.root, "--log", f"/proc/self/fd/{_LOG}", "--log-format", "json",
                *command, self._container]
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate([*fds, log])]
        ours = os.umask(_UMASK)
        try:
            pid = os.posix_spawn(
                self._spec.path, argv, _ENVIRONMENT, file_actions=actions, setsigdef=_DEFAULTS, setsigmask=[]
            )
        except OSError as error:
            os.close(log)
            raise ProtocolError(f"{self._spec.path}: {error.strerror}", "RUNTIME_FAILED") from error
        finally:
            os.umask(ours)
        self._children.begin()

        def ended(status: int, _time: int) -> None:
            code = os.waitstatus_to_exitcode(status)
            text = _errors(log) if code else ""
            os.close(log)
            try:
                done(code, text or (f"{self._spec.path} {command[0]} ended with {code}" if code else ""))
            finally:
                self._children.finish()

        self._children.wait(pid, ended)


def read_pid(path: str) -> int:
    """The pid in the runtime's --pid-file, which is then removed."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    pid = int(os.read(fd, 32))
    os.close(fd)
    os.unlink(path)
    return pid


def _errors(fd: int) -> str:
    """What the runtime's JSON log says went wrong, lines joined by "; "; text that is no JSON is given as it is."""
    text = os.pread(fd, _ERROR_MAX, 0).decode("utf-8", "replace")
    messages = []
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            messages.append(line)
            continue
        if isinstance(record, dict) and record.get("level", "error") not in ("debug", "info", "warning"):
            messages.append(str(record.get("msg", line)))
    return "; ".join(messages)
