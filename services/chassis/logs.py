"""Logs: one JSON object a line on standard error, with service, instance and request id on every line.

A line that cannot be written (the disk behind it is full) is counted and gone: what was being done goes on.
"""

from __future__ import annotations

import io
import logging
import os
from typing import Any, Final, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from chassis import context
from chassis.errors import InvalidArgument
from chassis.metrics import LOG_LINES_LOST

_LEVELS: Final = ("debug", "info", "warning", "error")


class _StandardError(io.StringIO):
    """Descriptor 2 without a buffer: nothing is held that would have to be written at the end, and no write raises."""

    def write(self, text: str) -> int:
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        try:
            while data:
                data = data[os.write(2, data):]
        except OSError:
            LOG_LINES_LOST.inc()
        return len(text)


def check_level(level: str) -> None:
    """InvalidArgument (BAD_CONFIG) for a word that is no level."""
    if level.lower() not in _LEVELS:
        expected = ", ".join(_LEVELS[:-1]) + f" or {_LEVELS[-1]}"
        raise InvalidArgument(f"log_level: {level!r} is not {expected}", reason="BAD_CONFIG", field="log_level",
                              expected=expected)


def set_level(level: str) -> None:
    """From the next line on. ``level`` is one that ``check_level`` has passed."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())))


def configure(service: str, instance: str, level: str = "info") -> None:
    """Set the process up to log as ``service`` of ``instance``; foreign libraries' warnings go the same way.
    InvalidArgument as ``check_level``."""
    check_level(level)

    def add_common(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        event["instance"] = instance
        if request := context.request_id.get():
            event["request_id"] = request
        if parent := context.traceparent.get():
            event["traceparent"] = parent
        return event

    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_common,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=_StandardError()),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(_StandardError())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def logger() -> FilteringBoundLogger:
    """The process's logger: ``logger().info("event", key=value)``."""
    return cast(FilteringBoundLogger, structlog.get_logger())
