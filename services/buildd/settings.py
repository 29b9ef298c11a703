"""What buildd can be told."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.config import Settings, option


@dataclass(frozen=True)
class BuilddSettings(Settings):
    """Sizes in bytes, times in seconds."""

    parallel: int = option(4, "how many steps of one build are carried out at once", live=True)
    fetch_max_bytes: int = option(1 << 30, "the largest file that ADD, or a remote context, may fetch", live=True)
    fetch_timeout: float = option(60.0, "seconds for a server to accept a connection, and between its bytes", live=True)
