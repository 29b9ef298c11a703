"""What every test has around it."""

from __future__ import annotations

from tests.leaks import nothing_left
from tests.registry import registry

__all__ = ["nothing_left", "registry"]
