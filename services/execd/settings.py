"""What execd can be told."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.config import Settings, option


@dataclass(frozen=True)
class ExecdSettings(Settings):
    runtimes: tuple[str, ...] = option(
        ("crun=/usr/bin/crun", "runc=/usr/bin/runc"), "OCI runtimes as NAME=PATH; the first one there is the default"
    )
    init: str = option("/usr/bin/tini-static", "statically linked init of the containers that ask for one")
    kill_within: float = option(10.0, "seconds that a killed process has to end before it is called stuck", live=True)
    container_metrics: bool = option(True, "whether /metrics tells what each running container uses", live=True)
    journal: str = option("/run/systemd/journal/socket", "socket of the host's journal, for the log driver journald")
    zygote_patience: float = option(1.0, "seconds that a missing zygote has to be started by its supervisor")
    python: str = option("/usr/bin/python3", "interpreter of the zygote, and so of every shim")
