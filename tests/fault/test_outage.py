"""Everything of the engine's is away for a while under containers that write, end, and run out of memory."""

import os
import re
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine import PROGRAMS, sh, wait_until

COUNTER = "i=0; while :; do echo line $i; i=$((i+1)); usleep 20000; done"
ENDING = "i=0; while [ ! -e /go ]; do echo line $i; i=$((i+1)); usleep 20000; done; echo end; exit {}"
GREEDY = "while [ ! -e /go ]; do usleep 10000; done; dd if=/dev/zero of=/dev/null bs=64M"


def numbers(engine, name):
    """The numbered lines of a log; that they are without a gap is asserted."""
    found = [int(number) for number in re.findall(r"^line (\d+)$", engine.ok("logs", name), re.MULTILINE)]
    assert found == list(range(len(found))), f"{name}: a line is missing, doubled or out of order"
    return len(found)


@contextmanager
def kept_dead(engine, seconds):
    """Every program is killed, and none comes back for so long."""
    launcher = engine.pid("launcher")
    os.kill(launcher, signal.SIGSTOP)
    try:
        engine.kill(*PROGRAMS)
        yield
        time.sleep(seconds)  # the outage itself
    finally:
        os.kill(launcher, signal.SIGCONT)
    engine.wait_serving()


def outage(engine, containers, ending, seconds):
    names = [f"writer-{number}" for number in range(containers)]
    for number, name in enumerate(names):
        script = ENDING.format(number + 1) if number < ending else COUNTER
        engine.ok("run", "-d", "--name", name, *sh(script))
    engine.ok("run", "-d", "--name", "greedy", "--memory", "16m", *sh(GREEDY))
    pids = {name: engine.inspect(name)["State"]["Pid"] for name in [*names, "greedy"]}
    wait_until(lambda: all(numbers(engine, name) for name in names))
    before = {name: numbers(engine, name) for name in names}
    with kept_dead(engine, seconds):
        for name in [*names[:ending], "greedy"]:
            Path(f"/proc/{pids[name]}/root/go").touch()
    for number, name in enumerate(names[:ending]):
        assert engine.ok("wait", name) == str(number + 1)
        assert engine.ok("logs", "--tail", "1", name) == "end"
        numbers(engine, name)
    wait_until(lambda: engine.inspect("greedy")["State"]["Status"] == "exited")
    state = engine.inspect("greedy")["State"]
    assert (state["OOMKilled"], state["ExitCode"]) == (True, 137)
    for name in names[ending:]:
        assert engine.inspect(name)["State"]["Pid"] == pids[name]
        wait_until(lambda name=name: numbers(engine, name) > before[name] + 20 * seconds)
        engine.ok("kill", name)
        numbers(engine, name)
    assert "nothing found" in engine.pier("system", "fsck").stdout


def test_two_seconds_without_any_program_lose_no_line_no_exit_code_and_no_oom_report(engine):
    outage(engine, 6, 2, 2)


@pytest.mark.soak
def test_a_minute_without_any_program_under_fifty_containers_loses_nothing(engine):
    outage(engine, 50, 10, 60)
