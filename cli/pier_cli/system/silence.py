"""A program that does not answer: whether it is dead, stopped, stuck, or cut off from its socket, and what its log
says.

gRPC says the same of all of these. The kernel tells them apart: it takes connections for a stopped process until its
queue is full, names the process behind a socket, and knows who holds the lock of a service's state directory.
"""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chassis.instance import Instance

DEAD: Final = "dead"
HUNG: Final = "hung"
CUT_OFF: Final = "cut off"
_SYSTEMD = Path("/run/systemd/system")
_JOURNAL_SECONDS: Final = 2.0
_TAIL: Final = 64 << 10
_UCRED: Final = struct.Struct("3i")
_LOCK: Final = re.compile(r"FLOCK\s+ADVISORY\s+WRITE\s+(\d+)\s+([0-9a-f]+:[0-9a-f]+:\d+)\s")


@dataclass(frozen=True)
class Silence:
    """``health`` is dead, hung or cut off; ``pid`` 0 where no process is known; ``why`` a sentence, or ""."""

    health: str
    pid: int
    why: str


def of(engine: Instance, name: str) -> Silence:
    """Why the service (or zygote, or resolver) ``name`` is silent. Waits for the journal alone, two seconds."""
    path = engine.run / f"{name}.sock"
    pid = _listener(str(path))
    if pid is None:
        holder = _holder(engine.state(name) / "lock")
        if holder and not path.exists():
            return Silence(CUT_OFF, holder, f"process {holder} runs and its socket {path} is gone")
        if holder:
            return Silence(HUNG, holder, f"process {holder} does not listen at {path} yet: {_doing(holder)}")
        return Silence(DEAD, 0, last_words(engine, name))
    return Silence(HUNG, pid, f"process {pid} {_doing(pid)}" if pid else "it is in another pid namespace")


def _listener(path: str) -> int | None:
    """Pid of the process that listens at ``path``, 0 where it cannot be seen from here, None where there is none."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):  # the resolver's is of the second kind
        with socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK) as probe:
            try:
                probe.connect(path)
            except BlockingIOError:
                return 0  # its queue is full
            except OSError as error:
                if error.errno == errno.EPROTOTYPE:
                    continue
                return None
            pid, _, _ = _UCRED.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
            return int(pid)
    return None


def _holder(lock: Path) -> int:
    """Pid of the process that holds the file ``lock``, 0 for none (/proc/locks)."""
    try:
        found = lock.stat()
        held = _LOCK.findall(Path("/proc/locks").read_text())
    except OSError:
        return 0
    wanted = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    return next((int(pid) for pid, place in held if place == wanted and int(pid) > 0), 0)


def _doing(pid: int) -> str:
    """What process ``pid`` does in place of answering, as words that follow its number."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "has just ended"
    if state in "Tt":
        return f"was stopped by a signal: kill -CONT {pid} lets it go on"
    if state == "D":
        return f"waits in the kernel ({_waits_in(pid)}): a disk or a network file system that hangs"
    if state == "Z":
        return "has ended, and its parent does not notice"
    return "takes connections and answers none of them"


def _waits_in(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/wchan").read_text() or "?"
    except OSError:
        return "?"


def last_words(engine: Instance, name: str) -> str:
    """Why it ended: its own last line where that says it cannot run, else what the launcher saw of its end; "" where
    nothing is said. The log is the launcher's file, or the journal under systemd."""
    for line in reversed(_tail(log_of(engine, name)) or _journal(name)):
        said = _json(line)
        if said.get("event") == "cannot run":
            return f"it cannot run ({said.get('reason', '?')}): {said.get('error', '')}"
        if said.get("event") in ("serving", "stopping"):
            break
    ended = f"launcher: {name} ended "
    for line in reversed(_tail(log_of(engine, "launcher"))):
        if f"launcher: {name} started" in line:
            break
        if ended in line:
            return line.partition("launcher: ")[2]
    return ""


def log_of(engine: Instance, name: str) -> Path:
    """The launcher's file for the program's standard error."""
    return engine.root / "log" / f"{name}.log"


def _tail(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []


def _journal(name: str) -> list[str]:
    """The unit's last lines, as many as come within two seconds; [] where there is no systemd."""
    if not _SYSTEMD.exists():
        return []
    command = ["journalctl", "-u", f"pier-{name}", "-n", "50", "-o", "cat", "--no-pager"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_JOURNAL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines()


def _json(line: str) -> dict[str, object]:
    try:
        document = json.loads(line)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
