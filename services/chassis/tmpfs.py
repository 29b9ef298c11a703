"""Directories whose files are in memory alone, where secrets may stand for a moment."""

from __future__ import annotations

import os
from pathlib import Path

from chassis.errors import Unavailable


def need(directory: Path) -> None:
    """Unavailable (NO_TMPFS) where ``directory`` is on a disk."""
    if not is_tmpfs(directory):
        raise Unavailable(f"{directory} is not on a tmpfs: a secret would come on a disk", reason="NO_TMPFS")


def is_tmpfs(directory: Path) -> bool:
    """By the line of its device in /proc/self/mountinfo (proc_pid_mountinfo(5))."""
    device = directory.stat().st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")  # a mount point's name is any bytes
    for line in lines.split("\n"):
        before, _, after = line.partition(" - ")
        if line and before.split(" ")[2] == name:
            return after.split()[0] in ("tmpfs", "ramfs")
    return False
