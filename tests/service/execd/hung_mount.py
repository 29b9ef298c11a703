"""A file system whose server takes requests and does not answer: who looks at a file in it is in uninterruptible sleep.

Source: Documentation/filesystems/fuse.rst, include/uapi/linux/fuse.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chassis import mountinfo

_libc = ctypes.CDLL(None, use_errno=True)
_IN = struct.Struct("IIQQIIII")
_OUT = struct.Struct("IiQ")
_LOOKUP, _GETATTR, _INIT = 1, 3, 26
_DETACH = 2
_DIRECTORY = 0o040755


@contextmanager
def hung_mount(path: Path) -> Iterator[threading.Event]:
    """Mounted at ``path``, a directory. The event is set when somebody hangs; the end of the block lets them go."""
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if _libc.mount(b"hung", os.fsencode(path), b"fuse", ctypes.c_ulong(0), options):
        os.close(fd)
        raise OSError(ctypes.get_errno(), "mount of fuse", str(path))
    caught = threading.Event()
    server = threading.Thread(target=_serve, args=(fd, caught), daemon=True)
    server.start()
    try:
        yield caught
    finally:
        # The connection's abort answers everybody with ENOTCONN, and the server's own read as well.
        _abort(path)
        _libc.umount2(os.fsencode(path), _DETACH)
        server.join(10)
        os.close(fd)


def _abort(path: Path) -> None:
    for mount in mountinfo.own():
        if mount.point == str(path):
            connection = str(os.minor(mount.device))
            control = Path("/sys/fs/fuse/connections")
            made = not (control / connection).exists()
            if made:
                _libc.mount(b"fusectl", os.fsencode(control), b"fusectl", ctypes.c_ulong(0), None)
            with suppress(FileNotFoundError):
                (control / connection / "abort").write_text("1")
            if made:
                _libc.umount2(os.fsencode(control), _DETACH)


def _serve(fd: int, caught: threading.Event) -> None:
    while True:
        try:
            request = os.read(fd, 1 << 17)
        except OSError as error:
            if error.errno == errno.ENOENT:
                continue  # a request was taken back
            return
        _, opcode, unique, *_ = _IN.unpack_from(request)
        if opcode == _LOOKUP:
            caught.set()
            continue
        body, problem = b"", 0
        if opcode == _INIT:
            major, minor = struct.unpack_from("II", request, _IN.size)
            body = struct.pack("IIIIHHII", major, min(minor, 31), 4096, 0, 16, 12, 4096, 1).ljust(64, b"\0")
        elif opcode == _GETATTR:
            attributes = struct.pack("QQQQQQIIIIIIIIII", 1, 0, 0, 0, 0, 0, 0, 0, 0, _DIRECTORY, 2, 0, 0, 0, 4096, 0)
            body = struct.pack("QII", 3600, 0, 0) + attributes
        else:
            problem = -errno.ENOSYS
        with suppress(OSError):
            os.write(fd, _OUT.pack(_OUT.size + len(body), problem, unique) + body)
