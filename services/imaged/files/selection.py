"""What sources stand for: paths and wildcards looked up in a tree, and all that is in what they name."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from chassis import glob
from chassis.errors import NotFound
from chassis.ignore import Matcher, Verdict
from chassis.spelling import meant
from imaged.files.roots import Root, cleaned, joined, parts_of, shown

_OFFERED: Final = 1000
"""Names that a missing one is compared with."""


class Found(NamedTuple):
    """One thing that a source stands for. ``path`` is how it was found, ``place`` where it is (a link that is a source
    is followed), ``below`` its path from where its directories begin to count."""

    path: bytes
    place: bytes
    below: bytes
    status: os.stat_result

    @property
    def name(self) -> bytes:
        return self.path.rpartition(b"/")[2]

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)


class Item(NamedTuple):
    """One thing in a directory that is a source: its path from there, and its name in the directory ``parent`` (a
    descriptor, until the next item)."""

    path: bytes
    status: os.stat_result
    parent: int
    name: bytes


class _Verdicts(NamedTuple):
    """On a path: what ``exclude`` and what ``ignore`` say."""

    exclude: Verdict
    ignore: Verdict

    @property
    def matched(self) -> bool:
        return self.exclude.matched or self.ignore.matched


class Selection:
    """Sources of the tree ``root``, with what ``exclude`` leaves out of them, and ``ignore`` out of the whole tree."""

    def __init__(
        self, root: Root, sources: Sequence[bytes], exclude: Matcher, ignore: Matcher | None = None, *,
        literal: bool = False, parents: bool = False,
    ) -> None:
        self._root = root
        self._sources = sources
        self._exclude = exclude
        self._ignore = ignore or Matcher([], "files.ignore")
        self._literal = literal
        self._parents = parents

    def find(self) -> list[Found]:
        """In the order of the sources, each path once. NotFound (NO_SUCH_FILE) for a source that is not there; a
        pattern may match nothing, as long as something is found at all."""
        found: dict[bytes, Found] = {}
        for source in self._sources:
            for one in self._of(source):
                found.setdefault(one.path, one)
        if not found:
            raise NotFound("no source files were specified", reason="NO_SUCH_FILE", field="files.sources",
                           expected="a file that is there")
        return list(found.values())

    def _of(self, source: bytes) -> Iterator[Found]:
        pivot, pattern = b"", source
        if self._parents and b"/./" in source:
            pivot, _, pattern = source.partition(b"/./")
        base, parts = parts_of(cleaned(pivot)), parts_of(cleaned(pattern))
        wild = next((i for i, part in enumerate(parts) if glob.has_wildcard(part)), len(parts))
        if self._literal or wild == len(parts):
            found = self._found([*base, *parts], len(base))
            if self._is_ignored(found):
                raise _not_there(found.path)
            yield found
            return
        above = [*base, *parts[:wild]]
        for path in self._expand(self._root.resolve(b"/".join(above)), above, parts[wild:]):
            found = self._found(path, len(base))
            if not self._is_ignored(found):
                yield found

    def _found(self, path: list[bytes], pivot: int) -> Found:
        whole = b"/".join(path)
        place = self._root.resolve(whole)
        status = self._root.status(place)
        if status is None:
            raise _not_there(whole, self._meant(path))
        return Found(whole, place, b"/".join(path[pivot:]), status)

    def _meant(self, path: list[bytes]) -> str:
        """What the first part that is not there may have been meant for."""
        for length in range(len(path)):
            above = self._root.resolve(b"/".join(path[:length]))
            names = {name for name, _ in self._names(above)}
            if path[length] not in names:
                offered = sorted(name for name in names if not self._ignore.at_path(joined(above, name)).matched)
                return meant(os.fsdecode(path[length]), map(os.fsdecode, offered[:_OFFERED]))
        return ""

    def _is_ignored(self, found: Found) -> bool:
        """All of it: nothing in it is let in again."""
        known = self._ignore.at_path(found.place)
        return known.matched and not (found.is_directory and self._ignore.lets_in)

    def _expand(self, place: bytes, path: list[bytes], patterns: list[bytes]) -> list[list[bytes]]:
        """The paths below the directory that the patterns match part by part, sorted; links are not gone through."""
        found: list[list[bytes]] = []
        waiting, seen = [(place, path, patterns)], set[tuple[bytes, int]]()
        while waiting:
            place, path, patterns = waiting.pop()
            if (place, len(patterns)) in seen:
                continue
            seen.add((place, len(patterns)))
            anything = self._parents and patterns[0] == b"**"
            if anything and len(patterns) > 1:
                waiting.append((place, path, patterns[1:]))
            match = None if anything else glob.compiled(patterns[0], "files.sources")
            for name, status in self._names(place):
                if match is not None and not match.fullmatch(glob.text_of(name)):
                    continue
                deeper = [*path, name]
                if len(patterns) == 1:
                    found.append(deeper)
                if stat.S_ISDIR(status.st_mode) and (anything or len(patterns) > 1):
                    waiting.append((joined(place, name), deeper, patterns if anything else patterns[1:]))
        return sorted(found)

    def _names(self, place: bytes) -> list[tuple[bytes, os.stat_result]]:
        status = self._root.status(place)
        if status is None or not stat.S_ISDIR(status.st_mode):
            return []
        fd = self._root.directory(place)
        try:
            return _listed(fd)
        finally:
            os.close(fd)

    def leaves_out(self, found: Found) -> bool:
        """Whether a file that is a source is left out."""
        return self._exclude.matches(found.below if self._parents else found.name)

    def _lets_in(self, verdict: _Verdicts) -> bool:
        """Something in a directory that is left out may be let in again."""
        return (self._exclude.lets_in or not verdict.exclude.matched) and (
            self._ignore.lets_in or not verdict.ignore.matched)

    def inside(self, found: Found) -> Iterator[Item]:
        """All that is in a directory that is a source, sorted: what is no directory before what is, and a directory
        before what is in it. One that is left out comes all the same where something in it is let in."""
        prefix = found.below if self._parents else b""
        verdicts = _Verdicts(self._exclude.at_path(prefix), self._ignore.at_path(found.place))
        waiting: list[tuple[bytes, _Verdicts, tuple[Item, ...]]] = [(b"", verdicts, ())]
        made: set[bytes] = set()
        while waiting:
            path, above, held = waiting.pop()
            fd = self._root.directory(joined(found.place, path))
            try:
                deeper: list[tuple[bytes, _Verdicts, tuple[Item, ...]]] = []
                for name, status in _listed(fd):
                    below = joined(path, name)
                    verdict = _Verdicts(
                        self._exclude.at(joined(prefix, below), above.exclude),
                        self._ignore.at(joined(found.place, below), above.ignore))
                    is_directory = stat.S_ISDIR(status.st_mode)
                    item = Item(below, status, fd, name)
                    if verdict.matched:
                        if is_directory and self._lets_in(verdict):
                            deeper.append((below, verdict, (*held, item)))
                        continue
                    for one in held:
                        if one.path not in made:
                            made.add(one.path)
                            yield one
                    yield item
                    if is_directory:
                        deeper.append((below, verdict, ()))
                waiting += deeper[::-1]
            finally:
                os.close(fd)


def _not_there(path: bytes, meant_for: str = "") -> NotFound:
    said = f"lstat {shown(path)}: no such file or directory{ascii(meant_for)[1:-1]}"
    return NotFound(said, reason="NO_SUCH_FILE", field="files.sources", expected="a file that is there")


def _listed(fd: int) -> list[tuple[bytes, os.stat_result]]:
    """What is in a directory, sorted, directories last."""
    found = [(name, os.stat(name, dir_fd=fd, follow_symlinks=False)) for name in map(os.fsencode, os.listdir(fd))]
    return sorted(found, key=lambda one: (stat.S_ISDIR(one[1].st_mode), one[0]))
