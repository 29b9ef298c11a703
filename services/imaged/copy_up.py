"""Copies a directory of an image's file tree, as its containers would see it, to a new directory.

``fill`` runs this file as a program of its own, because the tree must be mounted to be seen: in a mount namespace that
ends with the program. The path is resolved without leaving the tree, whatever links the image holds; the copying is
cp's, which follows none.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_NOTHING: Final = 3
"""Exit status: the tree has no such directory."""
_SOURCE: Final = 3
_TIMEOUT: Final = 600


def copy(lowers: Sequence[Path], options: Sequence[str], place: Path, path: bytes, new: Path) -> bool:
    """Copy ``path`` of the overlay of ``lowers`` (the upmost first, at least two) to ``new``, which is not there yet.

    ``place`` is a directory to mount at, ``options`` are the overlay's. False where there is no such directory; OSError
    with cp's or the kernel's words. Blocks.
    """
    request = json.dumps([[str(lower) for lower in lowers], list(options), str(place), os.fsdecode(path), str(new)])
    done = subprocess.run(
        [sys.executable, "-I", "-S", __file__, request], check=False, stdin=subprocess.DEVNULL, capture_output=True,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}, timeout=_TIMEOUT,
    )
    if done.returncode == _NOTHING:
        return False
    _check(done)
    return True


def move_into(new: Path, directory: Path) -> None:
    """Copy what is in ``new`` into the directory that is there. OSError with cp's words. Blocks."""
    done = subprocess.run(
        ["/bin/cp", "--archive", "--no-clobber", "--", f"{new}/.", str(directory)], check=False,
        stdin=subprocess.DEVNULL, capture_output=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        timeout=_TIMEOUT,
    )
    _check(done)


def _check(done: subprocess.CompletedProcess[bytes]) -> None:
    if done.returncode:
        text = done.stderr.decode(errors="replace").strip()
        number = errno.ENOSPC if "No space left on device" in text else errno.EIO
        raise OSError(number, text.splitlines()[-1][:500] if text else f"exit status {done.returncode}")


def main(request: str) -> int:
    """Does not return where there is something to copy: it goes on as cp."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from chassis import kernel, overlay

    lowers, options, place, path, new = json.loads(request)
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount(None, b"/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    target = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    attributes = kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NODEV | kernel.MOUNT_ATTR_NOSUID
    overlay.attach(overlay.Overlay("overlay", lowers, options, attributes), target)
    root = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = kernel.openat2(
            root, os.fsencode(path).strip(b"/") or b".", os.O_RDONLY | os.O_DIRECTORY,
            kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS,
        )
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return _NOTHING
        raise
    if found != _SOURCE:
        os.dup2(found, _SOURCE)
    else:
        os.set_inheritable(found, True)
    os.execv("/bin/cp", ["cp", "--archive", "--", f"/proc/self/fd/{_SOURCE}/.", new])
    raise AssertionError("execv returns by raising")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
