"""What every test has around it."""

from __future__ import annotations

from tests.leaks import nothing_left

__all__ = ["nothing_left"]
