"""Programs that tests use: those unpacked by `make test` first, then the machine's own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

PROJECT = Path(__file__).parents[1]
UNPACKED = os.pathsep.join(str(PROJECT / "build" / "debian" / "usr" / name) for name in ("bin", "sbin"))
"""Where the unpacked programs lie, as a PATH."""


_NEWER: Final = ("forky", "trixie")
"""Releases whose packages deploy/packages/unpack.txt names, the newest first."""


def newest_docker() -> str:
    """The docker command of a newer Debian than this one where there is one, else this one's."""
    for release in _NEWER:
        found = PROJECT / "build" / "debian" / release / "usr" / "bin" / "docker"
        if found.exists():
            return str(found)
    return program("docker")


def program(name: str) -> str:
    """The absolute path of ``name``; FileNotFoundError says how to get it."""
    found = shutil.which(name, path=UNPACKED) or shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name}: not on this machine, `make test` brings it (deploy/packages)")
    return found
