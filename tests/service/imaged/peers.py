"""Other tools for images, Debian's skopeo, podman and buildah, with stores of their own that end with a test."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests import tools

_DEBIAN = tools.PROJECT / "build" / "debian" / "usr"
_LIBRARIES = _DEBIAN / "lib" / f"{os.uname().machine}-linux-gnu"
_CONFIG = """
[engine]
conmon_path = ["{conmon}"]
helper_binaries_dir = ["{helpers}"]
cgroup_manager = "cgroupfs"
events_logger = "none"
[network]
network_backend = "netavark"
"""
_STORAGE = """
[storage]
driver = "overlay"
graphroot = "{home}/graph"
runroot = "{home}/run"
"""


class Peer:
    """One user's podman and buildah, with configuration and images below ``home``."""

    def __init__(self, home: Path) -> None:
        self._home = home
        config = home / ".config" / "containers"
        config.mkdir(parents=True)
        (config / "policy.json").write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        (home / "registries.conf").touch()
        (home / "containers.conf").write_text(_CONFIG.format(
            conmon=_DEBIAN / "bin" / "conmon", helpers=_DEBIAN / "lib" / "podman"))
        (home / "storage.conf").write_text(_STORAGE.format(home=home))

    def run(self, script: str) -> str:
        """What a shell script prints in which ``podman`` and ``buildah`` are commands. Mounts that they make, locks in
        memory, and what they write to /etc end with it."""
        around = (
            "for own in /dev/shm /run /var/tmp; do mount -n -t tmpfs tmpfs $own; done; mkdir -p etc/upper etc/work; "
            "mount -n -t overlay -o lowerdir=/etc,upperdir=etc/upper,workdir=etc/work overlay /etc\n")
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-euc", around + script], check=False, capture_output=True, text=True,
            errors="backslashreplace", timeout=120, cwd=self._home, stdin=subprocess.DEVNULL,
            env={
                "PATH": f"{_DEBIAN}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": str(_LIBRARIES),
                "HOME": str(self._home), "TMPDIR": str(self._home), "CONTAINERS_CONF": f"{self._home}/containers.conf",
                "CONTAINERS_STORAGE_CONF": f"{self._home}/storage.conf",
                "CONTAINERS_REGISTRIES_CONF": f"{self._home}/registries.conf",
            })
        assert done.returncode == 0, done.stderr
        return done.stdout


def skopeo(*arguments: str) -> str:
    """What skopeo prints."""
    run = subprocess.run(
        [tools.program("skopeo"), "--insecure-policy", *arguments], check=False, capture_output=True, text=True,
        timeout=60,
        env={"LD_LIBRARY_PATH": str(_LIBRARIES), "PATH": "/usr/bin:/bin", "TMPDIR": "/tmp", "HOME": "/root"})
    assert run.returncode == 0, run.stderr
    return run.stdout
