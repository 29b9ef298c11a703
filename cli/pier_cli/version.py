"""The version of the command."""

from __future__ import annotations

VERSION = "0.1.0"
