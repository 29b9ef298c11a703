"""How long the command takes to start, beside the interpreter's own floor: about 20 ms is the goal."""

from __future__ import annotations

import statistics
import subprocess
import time

import pytest

from tests.tools import PROJECT

PIER = str(PROJECT / "bin" / "pier")
FLOOR = ["/usr/bin/python3", "-I", "-S", "-c", "pass"]
NOWHERE = ["-H", "unix:///nonexistent/pier.sock"]
COMMANDS = {
    "--version": [PIER, "--version"],
    "ps": [PIER, *NOWHERE, "ps", "-a"],
    "run": [PIER, *NOWHERE, "run", "--rm", "-p", "80:80", "-e", "A=1", "busybox", "true"],
    "exec": [PIER, *NOWHERE, "exec", "-i", "x", "true"],
    "logs": [PIER, *NOWHERE, "logs", "-f", "x"],
    "images": [PIER, *NOWHERE, "images"],
    "inspect": [PIER, *NOWHERE, "inspect", "-f", "{{.Id}}", "x"],
    "run --help": [PIER, "run", "--help"],
}
RUNS = 30
MOST_ABOVE_FLOOR = 12.0
"""Milliseconds that a command may take beyond the floor measured in the same minutes; here it is 2 to 5."""


def once(command: list[str]) -> float:
    """Milliseconds from spawn to end."""
    before = time.perf_counter()
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return (time.perf_counter() - before) * 1000


@pytest.mark.bench
def test_common_commands_start_in_a_few_milliseconds_above_the_interpreter() -> None:
    for command in COMMANDS.values():
        once(command)  # bytecode is made, files are in memory
    # In turn, so that the machine's noise meets all alike.
    rounds = [[once(command) for command in (FLOOR, *COMMANDS.values())] for _ in range(RUNS)]
    medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
    floor = medians[0]
    print(f"\n{'python3 -I -S -c pass':24} {floor:6.1f} ms")
    for name, median in zip(COMMANDS, medians[1:], strict=True):
        print(f"{'pier ' + name:24} {median:6.1f} ms  (+{median - floor:.1f})")
    assert max(medians[1:]) - floor < MOST_ABOVE_FLOOR
