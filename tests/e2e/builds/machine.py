"""Programs of the machine as a tar that a Dockerfile adds to busybox: real software is built without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from tests import tools

_LINKS: Final = {"/lib": "usr/lib", "/lib64": "usr/lib64"}
"""Where the loader and the libraries are looked for, on a system whose /usr is merged."""
_UNPACKED: Final = str(tools.PROJECT / "build" / "debian")
"""What lies below it stands in the tar as it does in its Debian package."""


def write(target: Path, programs: Iterable[str], trees: Iterable[str], wanted: Callable[[str], bool]) -> None:
    """``programs`` with the libraries that they are linked to, and the files below ``trees`` that are ``wanted``."""
    paths = dict[str, None]()
    for program in programs:
        for path in (program, *_libraries(program)):
            paths.update(dict.fromkeys(_chain(path)))
    for tree in trees:
        for parent, directories, names in os.walk(tree):
            directories[:] = [name for name in directories if wanted(f"{parent}/{name}/")]
            for name in names:
                if wanted(f"{parent}/{name}"):
                    paths.update(dict.fromkeys(_chain(f"{parent}/{name}")))
    with tarfile.open(target, "w") as archive:
        for link, pointed in _LINKS.items():
            entry = tarfile.TarInfo(link.strip("/"))
            entry.type, entry.linkname = tarfile.SYMTYPE, pointed
            archive.addfile(entry)
        for path in paths:
            archive.add(path, path.removeprefix(_UNPACKED).lstrip("/"), recursive=False)


def _libraries(program: str) -> list[str]:
    places = {**os.environ, "LD_LIBRARY_PATH": f"{_UNPACKED}/usr/lib/{os.uname().machine}-linux-gnu"}
    listed = subprocess.run(["ldd", program], check=False, capture_output=True, text=True, env=places).stdout
    return [word for line in listed.splitlines() for word in line.split() if word.startswith("/")]


def _chain(path: str) -> list[str]:
    """``path`` below its real directory, and what it points to, link by link."""
    found = []
    while True:
        path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        found.append(path)
        if not os.path.islink(path) or path in found[:-1]:
            return found
        path = os.path.join(os.path.dirname(path), os.readlink(path))


def missing(*programs: str) -> str:
    """Those that are not on this machine."""
    return ", ".join(name for name in programs if shutil.which(name) is None)
