"""Mounts as the kernel lists them.

Source: proc_pid_mountinfo(5). Imports little: shims have it, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final, NamedTuple

OWN: Final = "/proc/self/mountinfo"


class Mount(NamedTuple):
    """``root`` is the part of the file system that is mounted at ``point``; ``device`` is st_dev of what is below;
    ``tags`` are what the mount tells and hears ("shared:7", "master:2"); ``options`` are the file system's own."""

    device: int
    root: str
    point: str
    tags: tuple[str, ...]
    kind: str
    options: str


def parse(data: bytes) -> Iterator[Mount]:
    """The mounts of a listing, in its order (later ones lie over earlier ones); names are as of ``os.fsdecode``."""
    for line in filter(None, data.split(b"\n")):  # splitlines would end them at \r, too
        left, _, right = line.partition(b" - ")
        _, _, device, root, point, _, *tags = left.split(b" ")
        kind, _, options = right.split(b" ", 2)
        major, _, minor = device.partition(b":")
        yield Mount(
            os.makedev(int(major), int(minor)), _name(root), _name(point),
            tuple(tag.decode() for tag in tags if tag), kind.decode(), _name(options))


def own() -> Iterator[Mount]:
    """Of this process's mount namespace."""
    with open(OWN, "rb") as file:
        return parse(file.read())


def _name(escaped: bytes) -> str:
    """Blanks, line ends and backslashes stand in it as three octal digits."""
    first, *others = escaped.split(b"\\")
    return os.fsdecode(first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in others))
