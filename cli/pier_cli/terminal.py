"""The terminal: raw mode that is always given back, its size, detach keys."""

from __future__ import annotations

import posix
import termios

from pier_cli.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"


class Raw:
    """Raw mode of the terminal on ``fd`` while entered; nothing where it is no terminal."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._before: list[Any] | None = None

    def __enter__(self) -> Self:
        if not posix.isatty(self._fd):
            return self
        before = termios.tcgetattr(self._fd)
        iflag, oflag, cflag, lflag, ispeed, ospeed, cc = termios.tcgetattr(self._fd)
        iflag &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
            | termios.ICRNL | termios.IXON
        )
        oflag &= ~termios.OPOST
        lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        cc = list(cc)
        cc[termios.VMIN], cc[termios.VTIME] = 1, 0
        self._before = before
        termios.tcsetattr(self._fd, termios.TCSANOW, [iflag, oflag, cflag, lflag, ispeed, ospeed, cc])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.restore()

    def restore(self) -> None:
        if self._before is not None:
            try:
                termios.tcsetattr(self._fd, termios.TCSANOW, self._before)
            except termios.error:
                pass  # the terminal itself has gone
            self._before = None


def size() -> tuple[int, int]:
    """Height and width of the output's terminal; zeros where there is none."""
    try:
        given = posix.get_terminal_size(1)
    except OSError:
        return 0, 0
    return given.lines, given.columns


def need_terminal(stdin: bool, tty: bool) -> None:
    """Failure where a terminal was asked for and the input is none."""
    if stdin and tty and not posix.isatty(0):
        raise Failure("the input device is not a TTY")


def parse_detach_keys(text: str) -> bytes:
    """``ctrl-p,ctrl-q`` or single characters, separated by commas, as the bytes that a terminal sends."""
    keys = bytearray()
    for word in text.split(","):
        if len(word) == 1 and word.isascii():
            keys.append(ord(word))
            continue
        name = word[5:].lower() if word.startswith("ctrl-") else ""
        code = ord(name) - 96 if len(name) == 1 and "a" <= name <= "z" else "@".find(name) if name == "@" else -1
        if name and name in "[\\]^_":
            code = 27 + "[\\]^_".index(name)
        if len(word) != 6 or code < 0:
            raise Failure(f"invalid detach keys ({text}): Unknown character: '{word}'")
        keys.append(code)
    return bytes(keys)


class Escape:
    """Finds the detach keys in what is typed. What may be their beginning is held back until it is known."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What to send on, and whether the keys were complete (what follows them is dropped)."""
        if not self._keys:
            return data, False
        out = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    return bytes(out), True
                continue
            out += self._keys[: self._matched]
            self._matched = 0
            if byte == self._keys[0]:
                self._matched = 1
            else:
                out.append(byte)
        return bytes(out), False
