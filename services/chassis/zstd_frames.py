"""Where zstd frames end (RFC 8878, section 3.1): the library does not tell a stream that was cut short from a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_SKIPPABLE: Final = 0x184D2A50
_DICTIONARY_BYTES: Final = (0, 1, 2, 4)
_CONTENT_BYTES: Final = (0, 2, 4, 8)
_RLE: Final = 1


class Frames:
    """Follows a stream of frames, header by header and block by block, without looking into the blocks."""

    def __init__(self) -> None:
        self._need = 4
        self._held = b""
        self._skip = 0
        self._next: Callable[[bytes], None] = self._magic
        self._checksum = 0

    @property
    def between(self) -> bool:
        """Whether the bytes so far end with a whole frame (or there were none)."""
        return self._next == self._magic and not self._held and not self._skip

    def feed(self, data: bytes) -> None:
        """The next bytes; what is no zstd is for the decompressor to refuse."""
        position = 0
        while position < len(data):
            if self._skip:
                step = min(self._skip, len(data) - position)
                self._skip -= step
            else:
                step = min(self._need - len(self._held), len(data) - position)
                self._held += data[position : position + step]
                if len(self._held) == self._need:
                    held, self._held = self._held, b""
                    self._next(held)
            position += step

    def _expect(self, need: int, then: Callable[[bytes], None]) -> None:
        self._need = need
        self._next = then

    def _magic(self, held: bytes) -> None:
        if int.from_bytes(held, "little") & 0xFFFFFFF0 == _SKIPPABLE:
            self._expect(4, self._skippable)
        else:
            self._expect(1, self._descriptor)

    def _skippable(self, held: bytes) -> None:
        self._skip = int.from_bytes(held, "little")
        self._expect(4, self._magic)

    def _descriptor(self, held: bytes) -> None:
        flags = held[0]
        single = bool(flags & 0x20)
        content = _CONTENT_BYTES[flags >> 6] or int(single)
        self._checksum = 4 if flags & 0x04 else 0
        self._skip = (0 if single else 1) + _DICTIONARY_BYTES[flags & 3] + content
        self._expect(3, self._block)

    def _block(self, held: bytes) -> None:
        header = int.from_bytes(held, "little")
        self._skip = 1 if header >> 1 & 3 == _RLE else header >> 3
        if header & 1:
            self._skip += self._checksum
            self._expect(4, self._magic)
