"""Progress of pull, push and load: lines that are rewritten on a terminal, plain lines elsewhere."""

from __future__ import annotations

import posix
import time

from pier_cli import out
from pier_cli.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_LONGEST_BAR = 50
_REDRAW = 0.05


class Progress:
    """Shows the messages of one stream on ``fd`` (-1: shows nothing, but errors still end it)."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._terminal = fd >= 0 and out.is_terminal(fd)
        self._lines: dict[str, int] = {}
        self._drawn: dict[str, float] = {}

    def follow(self, messages: Iterable[dict[str, Any]]) -> None:
        """Show all messages. Failure with the engine's message where one is an error."""
        for message in messages:
            if "errorDetail" in message or message.get("error"):
                detail = message.get("errorDetail") or {}
                raise Failure(str(detail.get("message") or message.get("error")), int(detail.get("code") or 1))
            if self._fd >= 0 and "aux" not in message:
                self._show(message)

    def _show(self, message: dict[str, Any]) -> None:
        identity = str(message.get("id") or "")
        bar = self._bar(message.get("progressDetail") or {})
        if not self._terminal:
            # Only what is news is a line: bars are for eyes.
            if not bar:
                self._write(self._plain(identity, message))
            return
        if not identity or "progressDetail" not in message:
            self._lines.clear()
            self._write(self._plain(identity, message))
            return
        if bar:
            if time.monotonic() - self._drawn.get(identity, 0.0) < _REDRAW:
                return
            self._drawn[identity] = time.monotonic()
        self._rewrite(identity, " ".join(filter(None, (f"{identity}: {message.get('status', '')}", bar))))

    def _plain(self, identity: str, message: dict[str, Any]) -> str:
        if "stream" in message:
            return str(message["stream"])
        return (f"{identity}: " if identity else "") + str(message.get("status", "")) + "\n"

    def _rewrite(self, identity: str, text: str) -> None:
        start = ""
        if identity not in self._lines:
            self._lines[identity] = len(self._lines)
            start = "\n"
        up = len(self._lines) - self._lines[identity]
        text = out.safe(text)[: self._columns() - 1]
        self._write(f"{start}\x1b[{up}A\x1b[2K\r{text}\r\x1b[{up}B")

    def _bar(self, detail: dict[str, Any]) -> str:
        current, total = detail.get("current") or 0, detail.get("total") or 0
        if current <= 0 and total <= 0:
            return ""
        if not self._terminal:
            return "bar"
        return render_bar(current, total, self._columns())

    def _columns(self) -> int:
        try:
            return posix.get_terminal_size(self._fd).columns or 80
        except OSError:
            return 80

    def _write(self, text: str) -> None:
        if not self._terminal:
            out.flush()
        shown = text if not self._terminal or "\x1b" in text else out.safe_lines(text)
        out.write(self._fd, shown.encode("utf-8", "surrogateescape"))


def render_bar(current: int, total: int, columns: int) -> str:
    """``[=====>      ]  1.5MB/3MB`` for a terminal of so many columns; without a known total only how much."""
    from pier_cli.units import human_size

    done = human_size(current, 4)
    if total <= 0 or current > total:
        return f"{done:>8}"
    numbers = f"{done:>8}/{human_size(total, 4)}"
    width = min(_LONGEST_BAR, columns - 60)
    if width < 10:
        return numbers
    filled = width * current // total
    return f"[{'=' * filled}>{' ' * (width - filled)}] {numbers}"
