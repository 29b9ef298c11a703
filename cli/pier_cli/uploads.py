"""Bodies that are files or the standard input, block by block."""

from __future__ import annotations

import posix

from pier_cli.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_BLOCK = 256 * 1024


def open_source(path: str) -> int:
    """A descriptor of the file; of the standard input for "-" or "". Failure with Go's words."""
    if path in ("", "-"):
        return 0
    try:
        return posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as error:
        from pier_cli.specs.files import reason

        raise Failure(f"open {path}: {reason(error)}") from None


def blocks_of(fd: int) -> Callable[[], bytes]:
    """A body for ``Engine.request``."""
    return lambda: posix.read(fd, _BLOCK)


def write_file(path: str, blocks: Iterable[bytes]) -> None:
    """Write blocks to ``path``, whole or not at all; the name appears when all is there."""
    from pier_cli.specs.files import reason

    partial = f"{path}.pier-{posix.getpid()}"
    try:
        fd = posix.open(partial, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failure(f"open {path}: {reason(error)}") from None
    try:
        from pier_cli import out

        for block in blocks:
            out.write(fd, block)
        posix.rename(partial, path)
    except BaseException:
        posix.unlink(partial)
        raise
    finally:
        posix.close(fd)
