"""An iterator of chunks as a stream of exact reads, without copying what passes through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chassis.tar.entry import bad_archive


class Source:
    """Reads across chunk borders. ``total`` counts the bytes taken."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks: Iterator[bytes] = iter(chunks)
        self._view = memoryview(b"")
        self.total = 0

    def _more(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._view = memoryview(chunk)
                return True
        return False

    def part(self, limit: int) -> memoryview:
        """The next bytes, at least one and at most ``limit``; empty at the end of the stream. Not copied."""
        if not self._view and not self._more():
            return self._view
        part = self._view[:limit]
        self._view = self._view[limit:]
        self.total += len(part)
        return part

    def take(self, length: int) -> bytes:
        """Exactly ``length`` bytes."""
        first = self.part(length)
        if len(first) == length:
            return bytes(first)
        gathered = bytearray(first)
        while len(gathered) < length:
            part = self.part(length - len(gathered))
            if not part:
                raise bad_archive("it ends in the middle of an entry")
            gathered += part
        return bytes(gathered)

    def block(self, size: int) -> bytes | None:
        """One block, or None at the end of the stream."""
        if not self._view and not self._more():
            return None
        return self.take(size)

    def skip(self, length: int) -> None:
        """Pass over ``length`` bytes."""
        while length:
            part = self.part(length)
            if not part:
                raise bad_archive("it ends in the middle of an entry")
            length -= len(part)

    def skip_padding(self, length: int) -> None:
        """Pass over ``length`` bytes, or what there is of them at the end of the stream."""
        while length and (part := self.part(length)):
            length -= len(part)

    def drain(self) -> None:
        """Pass over what is left."""
        while self.part(1 << 30):
            pass
