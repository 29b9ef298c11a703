"""Cgroups below the instance's own that no container has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_CONTAINER: Final = re.compile(r"[0-9a-f]{64}")
_SHIMS: Final = "shims"


def stray_cgroups(parent: Path, known: frozenset[str] | set[str]) -> Iterator[Path]:
    """Those of containers with other ids than ``known``. What containers have asked for as their parent is looked into,
    and is none itself."""
    if not parent.is_dir():
        return
    for path in parent.iterdir():
        if not path.is_dir() or path.name == _SHIMS:
            continue
        if not _CONTAINER.fullmatch(path.name):
            yield from stray_cgroups(path, known)
        elif path.name not in known:
            yield path
