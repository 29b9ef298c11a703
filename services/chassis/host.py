"""Which machine and which boot this is."""

from __future__ import annotations

import re
from pathlib import Path

from chassis.ids import new_id

_MACHINE_ID = re.compile(r"[0-9a-f]{32}")


def boot_id() -> str:
    """Changes with every boot: /proc/sys/kernel/random/boot_id."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def node_id(state: Path) -> str:
    """/etc/machine-id, or a random id kept in ``state`` where there is none."""
    try:
        value = Path("/etc/machine-id").read_text().strip()
    except OSError:
        value = ""
    if _MACHINE_ID.fullmatch(value):
        return value
    kept = state / "node-id"
    if not kept.exists():
        kept.write_text(new_id()[:32])
    return kept.read_text().strip()
