"""Which machine and which boot this is."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from chassis.ids import new_id

MACHINE_ID: Final = Path("/etc/machine-id")
_MACHINE_ID: Final = re.compile(r"[0-9a-f]{32}")


def boot_id() -> str:
    """Changes with every boot: /proc/sys/kernel/random/boot_id."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def node_id(root: Path) -> str:
    """/etc/machine-id, or where there is none a random id, which all services of an instance find in its ``root``."""
    try:
        value = MACHINE_ID.read_text().strip()
    except OSError:
        value = ""
    if _MACHINE_ID.fullmatch(value):
        return value
    kept = root / "node-id"
    if not kept.exists():
        made = root / f".node-id.{new_id()}"
        made.write_text(new_id()[:32])
        with suppress(FileExistsError):  # another service was the first
            os.link(made, kept)
        made.unlink()
    return kept.read_text().strip()
