"""Small files of /proc, /sys and /etc, below a root of the caller's choice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Files:
    root: Path = Path("/")

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str:
        """What is in it, without the last newline; "" where it cannot be read."""
        try:
            return self.at(path).read_text(errors="replace").rstrip("\n")
        except OSError:
            return ""

    def number(self, path: str) -> int | None:
        """The decimal number in it; None where there is none."""
        text = self.text(path).strip()
        return int(text) if text.lstrip("-").isdecimal() else None

    def programs(self) -> Iterator[tuple[int, str]]:
        """Pid and name (15 bytes of it) of every process that can be seen."""
        for path in self.at("/proc").glob("[0-9]*"):
            name = self.text(f"/proc/{path.name}/comm")
            if name:
                yield int(path.name), name
