"""A mounted root file system, touched by descriptors only: an image's links never lead out of it.

The mount is in the shim's namespace and is reached through ``/proc/SHIM/root``. Every path is opened by openat2(2) with
RESOLVE_IN_ROOT; nothing of the image's is run.
"""

from __future__ import annotations

import errno
import os
import stat
from types import TracebackType
from typing import Final, Self

from chassis import kernel
from chassis.errors import InvalidArgument

FILE_MAX: Final = 1 << 20
"""Bytes of a passwd or group file that are read at most; a longer one is refused (CVE-2026-47262)."""
_RESOLVE: Final = kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS


class Rootfs:
    """An open root directory, which is closed with it. Use it as a context manager."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def of(cls, shim_pid: int, path: bytes) -> Self:
        """``path`` as the process sees it."""
        return cls(os.open(b"/proc/%d/root%s" % (shim_pid, path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _cls: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def read(self, path: bytes) -> bytes:
        """A small regular file; b"" where there is none. InvalidArgument (BAD_IMAGE) for anything else."""
        try:
            fd = kernel.openat2(self._fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, _RESOLVE)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return b""
            raise _bad(path, os.strerror(error.errno or 0)) from error
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise _bad(path, "is not a regular file")
            if found.st_size > FILE_MAX:
                raise _bad(path, f"is larger than {FILE_MAX} bytes")
            data = b""
            while piece := os.read(fd, FILE_MAX + 1 - len(data)):
                data += piece
            if len(data) > FILE_MAX:
                raise _bad(path, f"is larger than {FILE_MAX} bytes")
            return data
        finally:
            os.close(fd)

    def refuse_link(self, name: bytes) -> None:
        """InvalidArgument (BAD_IMAGE) where top-level ``name`` is a symbolic link: runtimes that follow one make and
        remove things on the host (CVE-2026-47766, CVE-2019-19921)."""
        try:
            found = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISLNK(found.st_mode):
            raise _bad(b"/" + name, "is a symbolic link")

    def make_directory(self, path: bytes) -> None:
        """``path`` and what is missing above it, mode 0755 and root's, as Docker makes a working directory."""
        parts = [part for part in path.split(b"/") if part not in (b"", b".")]
        for index in range(1, len(parts) + 1):
            here = b"/".join(parts[:index])
            try:
                os.close(kernel.openat2(self._fd, here, os.O_PATH | os.O_DIRECTORY, _RESOLVE))
            except FileNotFoundError:
                self._make_one(b"/".join(parts[: index - 1]), parts[index - 1], here)
            except NotADirectoryError as error:
                raise InvalidArgument(
                    f"Cannot mkdir: /{os.fsdecode(here)} is not a directory", reason="NOT_A_DIRECTORY",
                    field="spec.process.cwd",
                ) from error

    def _make_one(self, above: bytes, name: bytes, shown: bytes) -> None:
        parent = kernel.openat2(self._fd, above or b".", os.O_PATH | os.O_DIRECTORY, _RESOLVE)
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
            os.chmod(name, 0o755, dir_fd=parent)  # noqa: S103 - Docker's mode, whatever our umask
        except FileExistsError as error:
            raise _bad(shown, "is a dangling symbolic link") from error
        finally:
            os.close(parent)

    def make_mount_point(self, path: bytes) -> None:
        """An empty regular file at ``path`` where the image has a link or nothing, so that what the engine mounts
        there lands there (CVE-2024-9341)."""
        above, _, name = path.strip(b"/").rpartition(b"/")
        self.make_directory(above)
        parent = kernel.openat2(self._fd, above or b".", os.O_PATH | os.O_DIRECTORY, _RESOLVE)
        try:
            try:
                if not stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                    return
                os.unlink(name, dir_fd=parent)
            except FileNotFoundError:
                pass
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=parent))
        finally:
            os.close(parent)


def _bad(path: bytes, what: str) -> InvalidArgument:
    shown = ascii(os.fsdecode(path))[1:-1]
    return InvalidArgument(f"{shown} in the image {what}", reason="BAD_IMAGE", field="rootfs")
