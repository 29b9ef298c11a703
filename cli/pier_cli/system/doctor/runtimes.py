"""The OCI runtimes and the init, as programs of the host. How they behave is execd's to judge (see ``services``)."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Final

from pier_cli.system.doctor.check import Check, advice, failure, ok

AREA: Final = "runtimes"
PROGRAMS: Final = {"crun": "/usr/bin/crun", "runc": "/usr/bin/runc"}
_INIT: Final = "/usr/bin/tini-static"
_PATIENCE: Final = 2.0


def checks(programs: dict[str, str] = PROGRAMS, init: str = _INIT) -> Iterator[Check]:
    there = {name: path for name, path in programs.items() if os.access(path, os.X_OK)}
    if not there:
        yield failure(AREA, "runtime", f"none of {', '.join(programs.values())}", "apt-get install crun, or name "
                      "another by execd's setting runtimes")
    for name, path in there.items():
        yield ok(AREA, name, f"{path}: {_version(path)}")
    if not os.access(init, os.X_OK):
        yield advice(AREA, "init", f"no {init}", "containers with --init are refused: apt-get install tini")
    else:
        yield ok(AREA, "init", init)


def _version(path: str) -> str:
    try:
        with tempfile.TemporaryDirectory(prefix="pier-doctor-") as root:  # crun makes its directory even for this
            command = [path, "--root", root, "--version"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it does not say its version ({error})"
    return (done.stdout.splitlines() or ["it does not say its version"])[0]
