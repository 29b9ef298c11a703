"""The rules of ``cp``: what a copy of SRC to DEST is called there, as docker has them.

DEST is a directory: the copy goes into it by its own name, or its contents do where SRC ends with "/.". DEST is not
there: the copy gets its name, in a directory that must be there. DEST is a file: a file takes its place.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from chassis.errors import PierError
from chassis.tar import Entry, Kind, Reader
from chassis.tar.extract import Extractor, Rules
from chassis.tar.pack import Packer
from pier_cli import out
from pier_cli.engine import Engine
from pier_cli.failure import EngineError, Failure
from pier_cli.specs.files import reason
from pier_cli.uploads import blocks_of

_STAT = "x-docker-container-path-stat"
_DIRECTORY, _LINK = 1 << 31, 1 << 27
_TAR = {"Content-Type": "application/x-tar"}


@dataclass(frozen=True)
class _Target:
    """Where a copy goes: into the directory ``place``, by ``name``; "" for the contents of what is copied."""

    place: str
    name: str


def from_container(engine: Engine, url: str, inside: str, outside: str, *, archive: bool, follow: bool) -> int | None:
    """Bytes of the archive; None where it went to the standard output."""
    if follow and (found := _stat(engine, url, inside)) and found["mode"] & _LINK:
        inside = found["linkTarget"]
    if outside == "-" and out.is_terminal(1):
        raise Failure("cowardly refusing to write an archive to a terminal: use a file or a pipe")
    response = engine.request("GET", url, (("path", inside),))
    counted = _Counted(response.blocks())
    if outside == "-":
        for block in counted:
            out.write(1, block)
        return None
    found = _decoded(response.headers[_STAT])
    target = _local_target(outside, inside, is_directory=bool(found["mode"] & _DIRECTORY))
    rules = Rules(whiteouts=False, cross_mounts=True, keep_base=True, keep_kinds=True,
                  owner=None if archive else (os.geteuid(), os.getegid()))
    root = os.open(target.place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        reader = _Renamed(counted, found["name"], target.name)
        Extractor(root, 0, rules).run(reader)
        reader.drain()
    except PierError as error:
        raise Failure(error.message) from None
    except OSError as error:
        raise Failure(f"{outside}: {reason(error)}") from None
    finally:
        os.close(root)
    return counted.size


def to_container(engine: Engine, url: str, inside: str, outside: str, *, archive: bool, follow: bool) -> int | None:
    """Bytes of the archive; None where it came from the standard input."""
    found = _stat(engine, url, inside)
    if found and found["mode"] & _LINK:
        inside = found["linkTarget"]
        found = _stat(engine, url, inside)
    is_directory = bool(found and found["mode"] & _DIRECTORY)
    query = (("noOverwriteDirNonDir", "true"), *((("copyUIDGID", "true"),) if archive else ()))
    if outside == "-":
        if found and not is_directory:
            raise Failure(f'destination "{inside}" must be a directory')
        engine.request("PUT", url, (("path", inside), *query), blocks_of(0), _TAR).read()
        return None
    source = os.path.realpath(outside) if follow or outside.endswith("/") else outside
    try:
        status = os.stat(source, follow_symlinks=False)
    except OSError as error:
        raise Failure(f"lstat {os.path.abspath(outside)}: {reason(error)}") from None
    name = "" if outside == "." or outside.endswith("/.") else os.path.basename(os.path.abspath(outside))
    target = _target(inside, name, there=found is not None, there_is_directory=is_directory,
                     is_directory=stat.S_ISDIR(status.st_mode))
    packed = _Packed(source, target.name)
    engine.request("PUT", url, (("path", target.place), *query), packed.read, _TAR).read()
    packed.check()
    return packed.size


def _local_target(outside: str, inside: str, *, is_directory: bool) -> _Target:
    name = "" if inside.endswith("/.") else os.path.basename(os.path.normpath(f"/{inside}"))
    target = _target(outside, name, there=os.path.lexists(outside), there_is_directory=os.path.isdir(outside),
                     is_directory=is_directory)
    if not os.path.isdir(target.place):
        raise Failure(f'invalid output path: directory "{os.path.abspath(target.place)}" does not exist')
    return target


def _target(destination: str, name: str, *, there: bool, there_is_directory: bool, is_directory: bool) -> _Target:
    """``name`` is the source's own, "" where its contents are meant."""
    if there_is_directory:
        return _Target(destination, name)
    if not is_directory and destination.endswith("/"):
        raise Failure("no such directory")
    if there and is_directory:
        raise Failure("cannot copy directory")
    parent, new = os.path.split(destination.rstrip("/"))
    return _Target(parent or ("/" if destination.startswith("/") else "."), new)


def _stat(engine: Engine, url: str, path: str) -> dict[str, Any] | None:
    """None where there is nothing at ``path``."""
    try:
        response = engine.request("HEAD", url, (("path", path),))
    except EngineError as error:
        if error.status == 404:
            return None
        raise
    response.read()
    return _decoded(response.headers[_STAT])


def _decoded(header: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(base64.b64decode(header))
    return value


class _Counted:
    """Blocks, and how many bytes they were."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            self.size += len(block)
            yield block


class _Renamed(Reader):
    """An archive whose entries begin with ``old``, read as if they began with ``new`` ("" for neither)."""

    def __init__(self, chunks: Iterable[bytes], old: str, new: str) -> None:
        super().__init__(chunks)
        self._old, self._new = os.fsencode(old), os.fsencode(new)

    def __iter__(self) -> Iterator[Entry]:
        for entry in super().__iter__():
            link = self._name(entry.link) if entry.kind is Kind.LINK else entry.link
            yield replace(entry, name=self._name(entry.name), link=link)

    def _name(self, name: bytes) -> bytes:
        rest = name.removeprefix(self._old)
        return (self._new + b"/" + rest.lstrip(b"/")).strip(b"/") or b"."


class _Packed:
    """The archive of ``source``, made by a thread while it is read; its entries begin with ``name`` ("." for "")."""

    def __init__(self, source: str, name: str) -> None:
        self.size = 0
        self._error: OSError | None = None
        self._read, self._write = os.pipe2(os.O_CLOEXEC)
        parent, _, last = source.rstrip("/").rpartition("/")
        self._parent = os.open(parent or ("/" if source.startswith("/") else "."), os.O_PATH | os.O_DIRECTORY)
        self._thread = threading.Thread(
            target=self._pack, args=(os.fsencode(last) or b".", os.fsencode(name) or b"."), daemon=True
        )
        self._thread.start()

    def read(self) -> bytes:
        block = os.read(self._read, 256 * 1024)
        self.size += len(block)
        return block

    def check(self) -> None:
        """Failure where it could not be read whole."""
        self._thread.join()
        if self._error is not None:
            raise Failure(f"{os.fsdecode(self._error.filename or b'')}: {reason(self._error)}")

    def _pack(self, last: bytes, name: bytes) -> None:
        try:
            with os.fdopen(self._write, "wb", buffering=256 * 1024) as pipe:
                Packer(pipe.write).pack(self._parent, last, name)
        except OSError as error:
            self._error = error
