"""Bringing an instance up and down from outside: what `pier system up` and `pier system down` do."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.errors import DeadlineExceeded, Unavailable
from chassis.instance import SERVICES, Instance, make_private

_UP_TIMEOUT: Final = 30.0
_DOWN_TIMEOUT: Final = 60.0
_POLL: Final = 0.05


def up(instance: Instance, config: Path | None = None, environ: Mapping[str, str] = os.environ) -> bool:
    """Start the instance in the background and return when every service is serving; False where it was up already.

    Unavailable where the launcher ended at once, DeadlineExceeded where a service does not come up within 30 seconds;
    both say which log to read.
    """
    running = launcher_pid(instance)
    log = instance.root / "log" / "launcher.log"
    if running is None:
        make_private(instance.root)
        make_private(log.parent)
        arguments = ["--instance", instance.name, "--root", str(instance.root), "--run", str(instance.run)]
        if config is not None:
            arguments += ["--config", str(config)]
        child = _spawn(arguments, log, environ)
    else:
        child = 0
    deadline = time.monotonic() + _UP_TIMEOUT
    missing = set(SERVICES)
    while missing:
        if child and os.waitpid(child, os.WNOHANG)[0]:
            raise Unavailable(f"the launcher ended at once: see {log}", reason="LAUNCHER_ENDED")
        if time.monotonic() > deadline:
            name = min(missing)
            raise DeadlineExceeded(
                f"{', '.join(sorted(missing))}: not serving after {_UP_TIMEOUT:.0f} s: see {log.with_name(name)}.log",
                reason="NOT_SERVING",
            )
        missing = {name for name in missing if not is_serving(instance, name)}
        time.sleep(_POLL if missing else 0)
    return child != 0


def down(instance: Instance) -> bool:
    """Stop the instance's services, leave its containers running; False where it was not up."""
    pid = launcher_pid(instance)
    if pid is None:
        return False
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            if not select.select([handle], [], [], _DOWN_TIMEOUT)[0]:
                raise DeadlineExceeded(f"the launcher (pid {pid}) does not stop", reason="NOT_STOPPING")
        finally:
            os.close(handle)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)  # where it was this process that brought it up
    return True


def _spawn(arguments: list[str], log: Path, environ: Mapping[str, str]) -> int:
    """Start the launcher in a session of its own; its pid. It outlives this process."""
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    argv = [sys.executable, "-m", "launcher", *arguments]
    return os.posix_spawn(sys.executable, argv, dict(environ), file_actions=actions, setsid=True)


def launcher_pid(instance: Instance) -> int | None:
    """The living launcher's pid, None where there is none: it holds its pid file locked."""
    try:
        fd = os.open(instance.run / "launcher.pid", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.read(fd, 32) or 0) or None
    finally:
        os.close(fd)
    return None


def is_serving(instance: Instance, service: str) -> bool:
    """The service's health check says SERVING within half a second."""
    with grpc.insecure_channel(f"unix:{instance.socket(service)}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=0.5)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
