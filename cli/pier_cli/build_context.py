"""The context of a build as ``pier build`` sends it: a directory's tar without what .dockerignore leaves out.

The same tree gives the same bytes: entries are sorted, owners are 0:0. Links are sent as they are, sockets are not.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from chassis.errors import PierError
from chassis.ignore import Matcher, Verdict, read
from chassis.tar import Entry, Kind, Writer
from pier_cli.failure import Failure
from pier_cli.specs.files import read_file, reason
from pier_cli.uploads import blocks_of, open_source

_BLOCK = 256 * 1024
_LOCAL = "local:"
_IGNORE = ".dockerignore"
_TARS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
_KINDS = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIRECTORY, stat.S_IFLNK: Kind.SYMLINK,
          stat.S_IFIFO: Kind.FIFO, stat.S_IFCHR: Kind.CHAR, stat.S_IFBLK: Kind.BLOCK}


@dataclass(frozen=True)
class Dockerfile:
    """``name`` is its path in the context, ``text`` what it says where it is not in there."""

    name: str = ""
    text: bytes = b""


def dockerfile(directory: str, wanted: str, standard_input: bytes) -> Dockerfile:
    """What -f means for a context in ``directory`` ("" for none): "-" is the standard input."""
    if wanted == "-":
        return Dockerfile(text=standard_input)
    if not wanted or not directory:
        return Dockerfile(wanted)
    inside = os.path.relpath(os.path.realpath(wanted), os.path.realpath(directory))
    if inside == os.pardir or inside.startswith(os.pardir + os.sep):
        return Dockerfile(text=read_file(wanted, "unable to prepare context: "))
    return Dockerfile(inside)


def is_archive(head: bytes) -> bool:
    """Whether what begins so is a tar, compressed or not, rather than a Dockerfile."""
    return head.startswith(_TARS) or head[257:262] == b"ustar"


class Further:
    """Further contexts of the --build-context flags. ``places`` is what the engine is told of each: directories and
    tars of this machine are sent when it asks for them."""

    def __init__(self, given: Iterable[tuple[str, str]]) -> None:
        self.places: dict[str, str] = {}
        self._paths: dict[str, str] = {}
        self._opened: list[Packed] = []
        for name, place in given:
            if "://" in place or place.startswith("git@"):
                self.places[name] = place
                continue
            if not os.path.exists(place):
                raise Failure(f'unable to prepare context {name}: path "{place}" not found')
            self.places[name], self._paths[name] = _LOCAL, place

    def open(self, name: str) -> Callable[[], bytes]:
        """Begin to read the context ``name``. Failure where it cannot be, or is none of these."""
        if name not in self._paths:
            raise Failure(f"the engine asks for a context {name!r}, which is none of this build's")
        path = self._paths[name]
        if not os.path.isdir(path):
            return blocks_of(open_source(path))
        packed = Packed(path)
        self._opened.append(packed)
        return packed.read

    def check(self) -> None:
        for packed in self._opened:
            packed.check()


class Packed:
    """The tar of ``directory``, made by a thread while ``read`` takes it off. Failure of ``check`` where a file could
    not be read. ``dockerfile_name``: what is sent whatever .dockerignore says, and .dockerignore; None for nothing."""

    def __init__(self, directory: str, dockerfile_name: str | None = None) -> None:
        if not os.path.isdir(directory):
            raise Failure(f'unable to prepare context: path "{directory}" not found' if not os.path.exists(directory)
                          else f"unable to prepare context: the path {directory} is no directory")
        self._root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._always: frozenset[bytes] = frozenset()
        if dockerfile_name is not None:
            name = dockerfile_name or "Dockerfile"
            self._always = frozenset(map(os.fsencode, (name, _IGNORE, f"{name}{_IGNORE}")))
        self._matcher = self._patterns(dockerfile_name or ("" if dockerfile_name is None else "Dockerfile"))
        self._error: Exception | None = None
        self._read, self._write = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._pack, daemon=True)
        self._thread.start()

    def read(self) -> bytes:
        return os.read(self._read, _BLOCK)

    def check(self) -> None:
        self._thread.join()
        if isinstance(self._error, OSError):
            raise Failure(f"{os.fsdecode(self._error.filename or b'')}: {reason(self._error)}")
        if isinstance(self._error, PierError):
            raise Failure(self._error.message)

    def _patterns(self, name: str) -> Matcher:
        for path in (f"{name}{_IGNORE}", _IGNORE) if name else (_IGNORE,):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._root)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise Failure(f"error checking context: {path}: {reason(error)}") from None
            try:
                with os.fdopen(fd, "rb") as file:
                    return Matcher(read(file.read()), path)
            except OSError as error:
                os.close(fd)  # fdopen takes no directory, and leaves it open
                raise Failure(f"error checking context: {path}: {reason(error)}") from None
            except PierError as error:
                raise Failure(error.message) from None
        return Matcher([])

    def _pack(self) -> None:
        try:
            with os.fdopen(self._write, "wb", buffering=_BLOCK) as pipe:
                writer = Writer(pipe.write)
                self._directory(writer, self._root, b"", self._matcher.top)
                writer.close()
        except BrokenPipeError:
            return
        except (OSError, PierError, ValueError) as error:
            self._error = error

    def _directory(self, writer: Writer, fd: int, path: bytes, above: Verdict) -> None:
        for name in sorted(map(os.fsencode, os.listdir(fd))):
            below = path + b"/" + name if path else name
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            verdict = self._matcher.at(below, above)
            kept = not verdict.matched or any(below == one or one.startswith(below + b"/") for one in self._always)
            is_directory = stat.S_ISDIR(status.st_mode)
            if not kept and not (is_directory and self._matcher.lets_in):
                continue
            if kept:
                self._entry(writer, fd, name, below, status)
            if is_directory:
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                try:
                    self._directory(writer, inner, below, verdict)
                finally:
                    os.close(inner)

    @staticmethod
    def _entry(writer: Writer, fd: int, name: bytes, path: bytes, status: os.stat_result) -> None:
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return
        entry = Entry(path, kind, mode=stat.S_IMODE(status.st_mode), mtime_ns=status.st_mtime_ns)
        if kind is Kind.FILE:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
            try:
                size = os.fstat(file).st_size
                writer.add(replace(entry, size=size), _content(file, size, path))
            finally:
                os.close(file)
        elif kind is Kind.SYMLINK:
            writer.add(replace(entry, link=os.readlink(name, dir_fd=fd)))
        elif kind in (Kind.CHAR, Kind.BLOCK):
            writer.add(replace(entry, device=(os.major(status.st_rdev), os.minor(status.st_rdev))))
        else:
            writer.add(entry)


def _content(fd: int, size: int, path: bytes) -> Iterator[bytes]:
    left = size
    while left:
        part = os.read(fd, min(left, _BLOCK))
        if not part:
            raise OSError(5, "the file has become shorter while it was read", path)
        left -= len(part)
        yield part
