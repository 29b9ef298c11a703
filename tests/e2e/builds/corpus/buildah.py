"""Debian's buildah: builds the corpus in a store of its own that ends with a test."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from deploy.busybox_image import busybox_image, docker_archive
from tests import tools
from tests.e2e.builds.corpus import context
from tests.e2e.builds.corpus.cases import Case
from tests.e2e.builds.corpus.facts import Image, images

_DEBIAN: Final = tools.PROJECT / "build" / "debian" / "usr"
_PLACES: Final = """
set -eu
if [ "$ROOT" != / ]; then
    mount -n --bind "$ROOT" "$ROOT"
    mount -n -t proc proc "$ROOT/proc"
    mount -n --rbind /sys "$ROOT/sys"
    mount -n --rbind /dev "$ROOT/dev"
    mkdir -p "$ROOT$HOME"
    mount -n --bind "$HOME" "$ROOT$HOME"
fi
for own in dev/shm run var/tmp var/cache; do mount -n -t tmpfs tmpfs "${ROOT%/}/$own"; done
mkdir -p "$HOME/etc/upper" "$HOME/etc/work"
mount -n -t overlay -o "lowerdir=${ROOT%/}/etc,upperdir=$HOME/etc/upper,workdir=$HOME/etc/work" overlay "${ROOT%/}/etc"
echo "127.0.0.1 localhost" > "${ROOT%/}/etc/hosts"
: > "${ROOT%/}/etc/resolv.conf"
exec chroot "$ROOT" sh -euc 'cd "$HOME"; exec "$@"' sh "$@"
"""
_CONFIG: Final = {
    # A user's limits are less than what it would raise them to.
    "containers.conf": '[containers]\ndefault_ulimits = ["nofile=1024:4096", "nproc=1024:4096"]\n'
                       f'[engine]\nhelper_binaries_dir = ["{_DEBIAN}/lib/podman"]\n',
    "registries.conf": 'unqualified-search-registries = ["localhost"]\n',
    "policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}\n',
}
_LONGEST: Final = 60


class Buildah:
    """``home`` is an empty directory for all that it keeps; ``root`` has it, as an own Debian would: "/" is this
    machine's, where what `make test` has unpacked comes first."""

    def __init__(self, home: Path, root: Path = Path("/")) -> None:
        self._home, self._root = home, root
        for name, text in _CONFIG.items():
            (home / name).write_text(text)
        (home / ".config" / "containers").mkdir(parents=True)
        (home / "policy.json").rename(home / ".config" / "containers" / "policy.json")
        archive = home / "base.tar"
        archive.write_bytes(docker_archive({"busybox:latest": busybox_image()}))
        done = self._run("pull", "-q", f"docker-archive:{archive}")
        assert done.returncode == 0, done.stderr

    def build(self, case: Case) -> str:
        """Why it built nothing, "" where it did."""
        dockerfile, files = context.of(case, self._home / "contexts")
        done = self._run(
            "bud", "-q", "--layers", "--format=docker", "--isolation=chroot", "--pull=never", "--identity-label=false",
            "-t", case.tag, "-f", str(dockerfile), *case.options, str(files))
        return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]

    def image(self, name: str) -> Image:
        archive = self._home / "pushed.tar"
        done = self._run("push", "-q", f"localhost/{name}", f"docker-archive:{archive}:{name}")
        assert done.returncode == 0, done.stderr
        found = images(archive.read_bytes())
        archive.unlink()
        return next(iter(found.values()))

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        store = ["buildah", "--root", f"{self._home}/store", "--runroot", f"{self._home}/run"]
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", _PLACES, "sh", *store, "--storage-driver=overlay", *words], check=False,
            capture_output=True, text=True, timeout=_LONGEST, stdin=subprocess.DEVNULL, env={
                "PATH": f"{_DEBIAN}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "ROOT": str(self._root),
                "LD_LIBRARY_PATH": f"{_DEBIAN}/lib/{os.uname().machine}-linux-gnu" if self._root == Path("/") else "",
                "HOME": str(self._home), "TMPDIR": "/var/tmp", "XDG_RUNTIME_DIR": "/run",
                "CONTAINERS_CONF": f"{self._home}/containers.conf",
                "CONTAINERS_REGISTRIES_CONF": f"{self._home}/registries.conf",
            })
