"""Log lines on a terminal: colours pass, everything else that would drive the terminal is spelt out."""

from __future__ import annotations

_PLAIN = frozenset((9, 10, 13))  # tab, line end, and the return that a terminal's own output carries
_LONGEST = 32


class Sanitizer:
    """Of one stream; a sequence may be cut between two blocks."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """``data`` made safe. What may be the start of a colour, or half a character, waits for the next block."""
        data = self._held + data
        self._held = b""
        out = bytearray()
        position = 0
        while position < len(data):
            byte = data[position]
            if byte == 27:
                end = _colour_end(data, position)
                if end < 0:
                    self._held = data[position:]
                    break
                if end > position:
                    out += data[position:end]
                    position = end
                    continue
            if byte == 0xC2:
                if position + 1 == len(data):
                    self._held = data[position:]
                    break
                if 0x80 <= data[position + 1] < 0xA0:  # a control character of the second block
                    out += b"\\x%02x" % data[position + 1]
                    position += 2
                    continue
            if (byte < 32 and byte not in _PLAIN) or byte == 127:
                out += b"\\x%02x" % byte
            else:
                out.append(byte)
            position += 1
        return bytes(out)

    def finish(self) -> bytes:
        """What was still held, spelt out."""
        held, self._held = self._held, b""
        return held.replace(b"\x1b", b"\\x1b")


def _colour_end(data: bytes, start: int) -> int:
    """The end of ``ESC [ digits ; … m`` at ``start``; ``start`` where it is none, -1 where it is not all there yet."""
    for position in range(start + 1, min(len(data), start + _LONGEST)):
        char = data[position]
        if position == start + 1:
            if char != 0x5B:
                return start
        elif char == 0x6D:
            return position + 1
        elif not (0x30 <= char <= 0x3B):
            return start
    return -1 if len(data) < start + _LONGEST else start
