"""A chroot is no place for containers: who enters their mount namespace stands in the root under it, outside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import execd.zygote.__main__ as zygote

_IN_CHROOT = """
set -e
mount -n -t tmpfs tmpfs "$0"
for name in /*; do
    if [ -L "$name" ]; then cp -P "$name" "$0"
    elif [ -d "$name" ]; then mkdir "$0$name"; mount -n --rbind "$name" "$0$name"; fi
done
exec chroot "$0" "$@"
"""


def start(tmp_path: Path, *prefix: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(zygote.__file__), "--socket", str(tmp_path / "socket"),
               "--cgroup-parent", "pier-chroot"]
    return subprocess.run([*prefix, *command], check=False, capture_output=True, text=True, timeout=30)


def test_a_zygote_in_a_chroot_refuses_to_start_and_says_why(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    inside = start(tmp_path, "unshare", "--mount", "--propagation", "private", "sh", "-c", _IN_CHROOT, str(root))
    assert inside.returncode == 1
    assert "this is a chroot" in inside.stderr
    assert "pivot_root" in inside.stderr
