"""What a shim says of itself and its processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from execd.shim import protocol
from execd.shim.jsonlog import JsonLog
from execd.shim.process import Process
from execd.shim.protocol import ENDED


def described(
    id_: str, init: Process, execs: Iterable[Process], log: JsonLog | None, *, released: bool
) -> Mapping[str, object]:
    """The answer to ``describe``."""
    return {
        "version": protocol.VERSION, "pid": os.getpid(), "id": id_, "state": init.state,
        "targets": {process.target: _process(process) for process in (init, *execs)}, "released": released,
        "log": {
            "lost_bytes": log.lost_bytes if log else 0, "lost_records": log.lost_records if log else 0,
            "error": log.last_error if log else "", "form": protocol.LOG_FORM,
        },
    }


def _process(process: Process) -> Mapping[str, object]:
    return {
        "state": process.state, "pid": process.pid, "started": process.started, "error": process.error,
        "exit": process.exit._asdict() if process.state == ENDED and process.exit else None,
        "clients": len(process.clients), "held": process.held(),
    }
