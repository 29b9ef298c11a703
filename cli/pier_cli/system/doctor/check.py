"""One thing that was looked at: what was found, how bad that is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """``FAILURE``: containers cannot be run, or are lost sight of. ``WARNING``: something of the engine does not work,
    or soon will not. ``ADVICE``: worth knowing. The values stand in ``--json``."""

    OK = "ok"
    ADVICE = "advice"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True)
class Check:
    """``todo`` is "" where nothing has to be done."""

    area: str
    name: str
    level: Level
    found: str
    todo: str = ""


def ok(area: str, name: str, found: str) -> Check:
    return Check(area, name, Level.OK, found)


def advice(area: str, name: str, found: str, todo: str) -> Check:
    return Check(area, name, Level.ADVICE, found, todo)


def warning(area: str, name: str, found: str, todo: str) -> Check:
    return Check(area, name, Level.WARNING, found, todo)


def failure(area: str, name: str, found: str, todo: str) -> Check:
    return Check(area, name, Level.FAILURE, found, todo)
