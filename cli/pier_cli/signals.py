"""Signals by the C module: importing ``signal`` costs 5 ms, for enums."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # built into the interpreter; no stub describes it
import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

SIGWINCH = 28
_NAMES = {
    1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 5: "TRAP", 6: "ABRT", 10: "USR1", 12: "USR2", 14: "ALRM", 15: "TERM",
    16: "STKFLT", 18: "CONT", 20: "TSTP", 23: "URG", 24: "XCPU", 25: "XFSZ", 26: "VTALRM", 27: "PROF", 29: "IO",
    30: "PWR",
}
# What is handed on to a container's process: not the faults of this process, nor what only concerns its terminal.
FORWARDED = (1, 2, 3, 10, 12, 14, 15, 18, 20, 24, 25, 26, 27, 29, 30)
ENDING = (1, 2, 3, 15)


def name(number: int) -> str:
    """SIG's name as the API takes it ("TERM"), the number where it has none."""
    return _NAMES.get(number, str(number))


def set_defaults() -> None:
    """INT ends this process as it ends others, and so does writing to a closed pipe."""
    _signal.signal(2, _signal.SIG_DFL)
    _signal.signal(13, _signal.SIG_DFL)


class Catcher:
    """While entered, the given signals do nothing but make ``fd`` readable; ``take`` gives their numbers."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self._numbers = numbers
        self.fd = -1

    def __enter__(self) -> Self:
        self.fd, self._write = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
        self._wakeup = _signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = {number: _signal.signal(number, lambda *_: None) for number in self._numbers}
        # A reader that has gone is an error here, not the end: the terminal must be given back first.
        self._before[13] = _signal.signal(13, _signal.SIG_IGN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            _signal.signal(number, handler if handler is not None else _signal.SIG_DFL)
        _signal.set_wakeup_fd(self._wakeup)
        posix.close(self.fd)
        posix.close(self._write)

    def take(self) -> bytes:
        """Numbers of the signals that came, one a byte."""
        try:
            return posix.read(self.fd, 512)
        except BlockingIOError:
            return b""


def die_of(number: int) -> None:
    """End this process by the signal, as if it had never been caught."""
    _signal.signal(number, _signal.SIG_DFL)
    posix.kill(posix.getpid(), number)
