"""``python -m pier_cli.system.doctor.host STATE TABLE SERVING``: the host's areas, a JSON line for each check as it is
known.

A program of its own, with one thread: its probes fork, and a disk that hangs keeps it, not who reads its lines.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

from pier_cli.system.doctor import cgroups, clock, kernel, limits, network, probe, runtimes, storage
from pier_cli.system.doctor.check import Check, Level, warning
from pier_cli.system.doctor.files import Files

BEGIN: Final = "begin"


def areas(state: Path, table: str, serving: bool) -> dict[str, Callable[[], Iterator[Check]]]:
    """In their order: what may hang comes last."""
    files = Files()
    nowhere = Path("/nonexistent")
    return {
        clock.AREA: clock.checks,
        limits.AREA: lambda: limits.checks(files),
        cgroups.AREA: lambda: cgroups.checks(files),
        network.AREA: lambda: network.checks(files, table, serving),
        runtimes.AREA: runtimes.checks,
        kernel.AREA: lambda: kernel.checks(files, lambda name: probe.tried(name, nowhere)),
        storage.AREA: lambda: _storage(files, state),
    }


def _storage(files: Files, state: Path) -> Iterator[Check]:
    yield from storage.checks(files, state)
    if state.is_dir():
        said = probe.tried("overlayfs", state)
        if os.strerror(errno.ENOSPC) in said:
            return  # it has been told
        level = Level.FAILURE if said else Level.OK
        todo = kernel.NEEDED["overlayfs"] if said else ""
        yield Check(storage.AREA, "overlay", level, said or f"mounts over {state}", todo)


def main(argv: list[str]) -> int:
    state, table, serving = Path(argv[0]), argv[1], argv[2] == "1"
    for area, look in areas(state, table, serving).items():
        print(json.dumps({BEGIN: area}), flush=True)
        try:
            for check in look():
                print(json.dumps({**asdict(check), "level": check.level.value}), flush=True)
        except Exception as error:  # noqa: BLE001 - one area that cannot be looked at hides no other
            check = warning(area, "looking", f"{type(error).__name__}: {error}", "report this")
            print(json.dumps({**asdict(check), "level": check.level.value}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
