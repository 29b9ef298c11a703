"""Paths of a container while somebody in it moves things about."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from chassis import kernel
from chassis.errors import NotFound
from execd.archive import paths
from execd.archive.view import View

_TRIES = 5000
_SWAP = """
import os, sys
from chassis import kernel
here = os.open(sys.argv[1], os.O_PATH)
print("swapping", flush=True)
while True:
    kernel.renameat2(here, b"t", here, b"link", kernel.RENAME_EXCHANGE)
"""


class _View:
    """Of a directory that is no mount's root: what counts here is that nothing leads out of it."""

    hidden: frozenset[int] = frozenset()

    def __init__(self, root: Path) -> None:
        self.root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


@pytest.fixture
def swapped(tmp_path: Path) -> Iterator[Path]:
    """``root/t`` is a directory at one moment and a link out of the root at the next."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "t").mkdir(parents=True)
    (root / "t" / "file").write_text("mine")
    outside.mkdir()
    (outside / "file").write_text("the host's")
    (root / "link").symlink_to("../" * 20 + str(outside).lstrip("/"))
    swapping = subprocess.Popen(
        [sys.executable, "-c", _SWAP, root], stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(Path(kernel.__file__).parents[1])})
    assert swapping.stdout is not None
    assert swapping.stdout.readline() == b"swapping\n"
    yield root
    swapping.kill()
    swapping.wait()
    swapping.stdout.close()


def _place(view: _View) -> paths.Place | None:
    """None where the link was met, which leads nowhere in this root."""
    try:
        return paths.Place(cast(View, view), b"/t/file")
    except NotFound:
        return None


def test_22_25_a_path_that_is_swapped_five_thousand_times_never_leads_out(swapped: Path) -> None:
    """CVE-2018-15664, CVE-2026-41568: what is found is opened, and never looked for a second time."""
    view = _View(swapped)
    outside = {path.stat().st_ino for path in (swapped.parent / "outside", swapped.parent / "outside" / "file")}
    met = {"mine": 0, "link": 0}
    try:
        for _ in range(_TRIES):
            place = _place(view)
            met["mine" if place else "link"] += 1
            if place is not None:
                found = {place.stat.st_ino, os.fstat(place.parent).st_ino,
                         os.stat(place.name, dir_fd=place.parent, follow_symlinks=False).st_ino}
                os.close(place.parent)
                assert not found & outside
    finally:
        os.close(view.root)
    assert min(met.values()) > 0, "nobody swapped anything"
