"""Standard output and error as bytes: whatever the locale, text that came in as bytes goes out as the same bytes."""

from __future__ import annotations

import posix

_ESCAPES = {number: f"\\x{number:02x}" for number in (*range(32), 127, *range(128, 160))}
_ESCAPES.update({7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r"})
_stdout: list[str] = []


def put(text: str) -> None:
    """Add to the standard output; it is written by ``flush`` at the latest when the command ends."""
    _stdout.append(text)


def line(text: str = "") -> None:
    _stdout.append(text + "\n")


def flush() -> None:
    if _stdout:
        data = "".join(_stdout).encode("utf-8", "surrogateescape")
        _stdout.clear()
        write(1, data)


def error(text: str) -> None:
    """A line on the standard error, at once."""
    flush()
    write(2, (text + "\n").encode("utf-8", "surrogateescape"))


def write(fd: int, data: bytes) -> None:
    """All of ``data`` to ``fd``."""
    view = memoryview(data)
    while view:
        view = view[posix.write(fd, view):]


def is_terminal(fd: int) -> bool:
    return posix.isatty(fd)


def safe(text: str) -> str:
    """``text`` with control characters spelt out: a name or label must not drive the operator's terminal."""
    return text.translate(_ESCAPES)


def safe_lines(text: str) -> str:
    """As ``safe``, where line ends and tabs are layout and stay."""
    return text.translate({key: value for key, value in _ESCAPES.items() if key not in (9, 10)})
