"""Whether a directory is in memory alone."""

import os
from pathlib import Path

import pytest

from chassis import mountinfo, tmpfs
from chassis.errors import Unavailable

LINES = b"""21 1 8:1 / / rw - ext4 /dev/sda1 rw
22 21 0:30 / /mnt/\xff\xfe rw shared:1 - ext4 /dev/sdb rw
23 21 %s / /run rw - %s tmpfs rw
"""


@pytest.mark.parametrize("kind,answer", [(b"tmpfs", True), (b"ramfs", True), (b"ext4", False)])
def test_it_is_told_by_its_mount_whatever_others_are_called(
    tmp_path: Path, monkeypatch, kind: bytes, answer: bool
) -> None:
    device = tmp_path.stat().st_dev
    listing = tmp_path / "mountinfo"
    listing.write_bytes(LINES % (f"{os.major(device)}:{os.minor(device)}".encode(), kind))
    monkeypatch.setattr(mountinfo, "OWN", listing)
    assert tmpfs.is_tmpfs(tmp_path) is answer
    if not answer:
        with pytest.raises(Unavailable, match="is not on a tmpfs"):
            tmpfs.need(tmp_path)
