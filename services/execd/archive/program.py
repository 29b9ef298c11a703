"""The program that stands in a container and does one thing there."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from chassis import program
from chassis.errors import Conflict, InvalidArgument, PierError
from chassis.tar import Reader
from chassis.tar.extract import Extractor, Rules
from chassis.tar.pack import Packer
from execd.archive import paths
from execd.archive.view import View
from execd.oci import users
from execd.oci.rootfs import Rootfs
from execd.shim.protocol import ProtocolError

_PIECE: Final = 256 << 10
_COMPRESSED: Final = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\x00", b"BZh")
_HEAD: Final = 6


def main(text: str) -> int:
    """Exit status 0, or 1 with the error as the last line of standard error."""
    return program.main(text, _run, _of_os)


def _run(request: Mapping[str, Any]) -> None:
    try:
        _work(request)
    except ProtocolError as error:
        raise Conflict(str(error), reason=error.reason) from error


def _work(request: Mapping[str, Any]) -> None:
    archive = _archive() if request["verb"] == "write" else iter(())
    view = View(request)
    path = os.fsencode(request["path"])
    if request["verb"] == "write":
        _unpack(view, path, archive, request)
        return
    place = paths.Place(view, path)
    program.write(json.dumps(place.described()).encode() + b"\n")
    if request["verb"] == "read":
        Packer(program.write, view.hidden).pack(place.parent, place.name, place.base)


def _archive() -> Iterator[bytes]:
    """Standard input's plain bytes. It is here that a decompressor is imported, and never a program of the container's
    that one is (CVE-2026-41567)."""
    head = b""
    while len(head) < _HEAD and (part := os.read(0, _HEAD - len(head))):
        head += part

    def pieces() -> Iterator[bytes]:
        yield head
        while part := os.read(0, _PIECE):
            yield part

    if head.startswith(_COMPRESSED):
        from chassis.compression import Decompressor

        return iter(Decompressor(pieces()))
    return pieces()


def _unpack(view: View, path: bytes, archive: Iterator[bytes], request: Mapping[str, Any]) -> None:
    try:
        target = paths.directory(view, path)
    except InvalidArgument as error:
        raise InvalidArgument("extraction point is not a directory", reason="NOT_A_DIRECTORY", field="path") from error
    if request["read_only"] and os.fstat(target).st_dev == os.fstat(view.root).st_dev:
        raise InvalidArgument("container rootfs is marked read-only", reason="READ_ONLY", field="path")
    owner = None
    if request["user"] is not None:
        rootfs = Rootfs(view.root)
        user = users.resolve(request["user"], (), rootfs.read(b"etc/passwd"), rootfs.read(b"etc/group"))
        owner = (user.uid, user.gid)
    rules = Rules(
        base=view.path_of(target).strip(b"/"), whiteouts=False, cross_mounts=True, keep_base=True, owner=owner,
        keep_kinds=bool(request["keep_kinds"]),
    )
    reader = Reader(archive)
    Extractor(view.root, 0, rules).run(reader)
    reader.drain()


def _of_os(error: OSError) -> PierError:
    if error.errno == errno.EROFS:
        return InvalidArgument("mounted volume is marked read-only", reason="READ_ONLY", field="path")
    if error.errno in (errno.EBUSY, errno.ESRCH, errno.ESTALE):
        return Conflict(f"archive: {error.strerror}", reason="BUSY", field="path")
    return program.of_os(error)
