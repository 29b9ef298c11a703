"""Directories whose files are in memory alone, where secrets may stand for a moment."""

from __future__ import annotations

from pathlib import Path

from chassis import mountinfo
from chassis.errors import Unavailable


def need(directory: Path) -> None:
    """Unavailable (NO_TMPFS) where ``directory`` is on a disk."""
    if not is_tmpfs(directory):
        raise Unavailable(f"{directory} is not on a tmpfs: a secret would come on a disk", reason="NO_TMPFS")


def is_tmpfs(directory: Path) -> bool:
    """By a mount of its device."""
    device = directory.stat().st_dev
    return any(mount.device == device and mount.kind in ("tmpfs", "ramfs") for mount in mountinfo.own())
