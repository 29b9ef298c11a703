"""kill -9 of each service, and of all at once, under containers that write, and one that ends meanwhile."""

import os
import re
import signal
from pathlib import Path

import pytest

from tests.engine import PROGRAMS, sh, wait_until

COUNTER = "i=0; while :; do echo line $i; i=$((i+1)); usleep 10000; done"

UNTIL_GO = "while [ ! -e /go ]; do usleep 10000; done; exit 7"


def go(pid):
    """Let a container that waits for /go end."""
    Path(f"/proc/{pid}/root/go").touch()


def lines(engine, name):
    """The numbered lines of a container's log; that they are without a gap is asserted."""
    text = engine.ok("logs", name)
    numbers = [int(number) for number in re.findall(r"^line (\d+)$", text, re.MULTILINE)]
    assert numbers == list(range(len(numbers))), "a line is missing, doubled or out of order"
    return len(numbers)


@pytest.mark.parametrize("victims", [*((name,) for name in PROGRAMS), PROGRAMS], ids="+".join)
def test_killing_a_service_loses_no_line_and_no_exit_code(engine, victims):
    engine.ok("run", "-d", "--name", "counter", *sh(COUNTER))
    engine.ok("run", "-d", "--name", "seven", *sh(UNTIL_GO))
    before = wait_until(lambda: lines(engine, "counter"))
    pid = engine.inspect("seven")["State"]["Pid"]
    engine.kill(*victims)
    go(pid)
    engine.wait_serving()
    assert engine.ok("wait", "seven") == "7"
    assert engine.inspect("seven")["State"]["ExitCode"] == 7
    wait_until(lambda: lines(engine, "counter") > before + 20)
    assert "counter" in engine.ok("ps", "--format", "{{.Names}}").split()
    assert engine.ok("exec", "counter", "echo", "here") == "here"
    engine.ok("stop", "-t", "1", "counter")
    lines(engine, "counter")
    assert "nothing found" in engine.pier("system", "fsck").stdout


def test_a_killed_shim_leaves_the_container_running_and_its_end_is_never_zero(engine):
    """Without its shim the exit code is the kernel's to tell; where it cannot, it is unknown, never 0."""
    engine.ok("run", "-d", "--name", "orphan", *sh(UNTIL_GO))
    pid = engine.inspect("orphan")["State"]["Pid"]
    parent = re.search(r"PPid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert parent is not None
    os.kill(int(parent[1]), signal.SIGKILL)
    assert engine.inspect("orphan")["State"]["Running"]
    go(pid)
    assert engine.ok("wait", "orphan") in ("7", "255")
    assert engine.inspect("orphan")["State"]["ExitCode"] != 0
