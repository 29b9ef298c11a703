"""The steps of a shim's verbs, for execd's trace; and marks of what it does unasked, for a tracer of system calls.

``PIER_STAGE_MARKS=1`` in the zygote's environment makes each mark visible as chassis.stages does: an access(2) of a
path that does not exist. That is for tests.
"""

from __future__ import annotations

import os
import time
from types import TracebackType

_marks = os.environ.get("PIER_STAGE_MARKS") == "1"


class Steps:
    """The steps of one verb as [name, start in ns of CLOCK_MONOTONIC, duration in ns]."""

    def __init__(self) -> None:
        self.list: list[list[object]] = []
        self._begun = time.monotonic_ns()

    def done(self, name: str) -> None:
        now = time.monotonic_ns()
        self.list.append([name, self._begun, now - self._begun])
        self._begun = now


class Mark:
    """``with Mark("exit.write_record")``: a step that no verb asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        if _marks:
            os.access(f"/pier-stage/begin/{self._name}", os.F_OK)

    def __exit__(
        self, _cls: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if _marks:
            os.access(f"/pier-stage/end/{self._name}", os.F_OK)
