"""The system calls of processes that live already, by strace."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import tools

_WITHIN = 60.0


@contextmanager
def traced(pids: Iterable[int], calls: str, log: Path) -> Iterator[None]:
    """``calls`` of the processes ``pids``, and of all that they start, go to ``log`` while the block lasts."""
    wanted = list(pids)
    command = [tools.program("strace"), "-f", "-qq", "-s", "300", "-e", f"trace={calls}", "-o", str(log)]
    for pid in wanted:
        command += ["-p", str(pid)]
    tracer = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + _WITHIN
        while not all(_has_tracer(pid) for pid in wanted):  # nothing tells of it
            assert tracer.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        yield
    finally:
        tracer.terminate()
        tracer.wait()


def _has_tracer(pid: int) -> bool:
    return all("TracerPid:\t0" not in (task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir())


def by_process(log: Path) -> dict[int, list[str]]:
    """The calls of each process, in order; one that was interrupted by another's counts where it began."""
    found: dict[int, list[str]] = {}
    for line in log.read_text(errors="replace").splitlines():
        pid, _, call = line.partition(" ")
        if not re.match(r"\s*<\.\.\.", call):
            found.setdefault(int(pid), []).append(call.strip())
    return found
