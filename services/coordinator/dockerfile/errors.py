"""What is wrong with an instruction, in BuildKit's words."""

from __future__ import annotations

from typing import Final

from chassis.errors import InvalidArgument

_SHOWN: Final = 80


def bad(message: str) -> InvalidArgument:
    """Whoever knows where the instruction stands says so instead (``located`` of the parser, ``apply``)."""
    return InvalidArgument(message, reason="BAD_INSTRUCTION", field="instruction")


def shown(text: str) -> str:
    """``text`` as a message quotes it: short, and without what a terminal would obey."""
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return cut if cut.isprintable() else ascii(cut)[1:-1]
