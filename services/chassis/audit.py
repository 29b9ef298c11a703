"""The audit log: a line for every call that changes something, and for every call that was refused to its caller.

One JSON object a line, in ``STATE/audit.log`` (mode 0600) of the service that was called: ``time``, ``who`` (uid and
pid, or certificate and address), ``call``, ``object``, ``arguments`` where a face has some to tell, ``result`` ("OK",
"CLIENT_LEFT", or the error's reason), ``seconds``, ``request_id``. Requests' bodies are not told, and secrets among
arguments are masked. A line is written when the call has ended, before that is answered. At 10 MiB a new file is begun,
the last four are kept.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from prometheus_client import Counter

from chassis import context
from chassis.caller import Caller
from chassis.logs import logger

LIMIT: Final = 10 << 20
_KEPT: Final = 4

_LOST: Final = Counter("pier_audit_lines_lost_total", "Lines of the audit log that could not be written.")


class Audit:
    """The log at ``path``, which is made with its first line. ``limit`` in bytes."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self._path = path
        self._limit = limit

    def tell(
        self, who: Caller, call: str, subject: str, result: str, seconds: float,
        arguments: Mapping[str, str] | None = None,
    ) -> None:
        """Append a line. A line that cannot be written is counted and logged; the call has been made all the same."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(time.time(), UTC).isoformat(), "who": who.shown(), "call": call,
            "object": subject[:256],
        }
        if arguments:
            line["arguments"] = dict(arguments)
        line |= {"result": result, "seconds": round(seconds, 6), "request_id": context.request_id.get()}
        try:
            if self._append(msgspec.json.encode(line) + b"\n") >= self._limit:
                self._rotate()
        except OSError as error:
            _LOST.inc()
            logger().error("an audit line is lost", error=str(error), line=line)

    def _append(self, line: bytes) -> int:
        """The file's size with it."""
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if (written := os.write(fd, line)) != len(line):
                os.ftruncate(fd, os.fstat(fd).st_size - written)  # the next line begins a line
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    def _rotate(self) -> None:
        for number in range(_KEPT - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                os.replace(older, self._path.with_name(f"{self._path.name}.{number + 1}"))
        os.replace(self._path, self._path.with_name(f"{self._path.name}.1"))
