"""A real dockerd of the tests' own, in the world's network namespace, as on a host that Pier is installed on.

It has a mount namespace of its own, which takes away with it what dockerd writes to /run, /opt and /etc; everything
else, docker0 and the iptables rules above all, is where it is on any host.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from deploy.busybox_image import busybox_image, docker_archive
from tests import leaks, tools, world
from tests.engine import wait_until
from tests.leaks import Kept
from tests.world import cgroups

PACKAGES: Final = {"dockerd": "docker.io", "containerd": "containerd", "iptables": "iptables", "runc": "runc"}
"""Program to the Debian package that has it."""
_CGROUP: Final = "beside-docker"
_STOPS_WITHIN: Final = 60.0
_OWN_PLACES: Final = """
set -e
umount -n /sys/fs/cgroup/unified 2>/dev/null || true
mount -t tmpfs tmpfs /run
mkdir /run/lock
mount -t tmpfs tmpfs /opt
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$0/etc,workdir=$0/work" /etc
exec "$@"
"""


def missing() -> str:
    """Why no dockerd can be started here, naming packages; "" where one can."""
    lacking = [f"{name} (Debian's {package})" for name, package in PACKAGES.items() if not _there(name)]
    return f"not on this machine: {', '.join(lacking)}; `make test` brings them" if lacking else ""


def _there(name: str) -> bool:
    try:
        tools.program(name)
    except FileNotFoundError:
        return False
    return True


class Dockerd:
    """One dockerd. ``start`` and ``stop`` as often as wanted, on the same state. ``storage`` is its storage driver:
    overlay2 needs a directory that is on no overlay."""

    def __init__(self, directory: Path, storage: str = "vfs") -> None:
        self._directory, self._storage = directory, storage
        self._process: subprocess.Popen[bytes] | None = None
        self.host = f"unix://{directory}/docker.sock"
        for name in ("etc", "work", "client"):
            (directory / name).mkdir()

    def start(self) -> None:
        """Start it, and return when its API answers."""
        place = self._directory
        daemon = [
            tools.program("dockerd"), "--data-root", f"{place}/data", "--exec-root", f"{place}/exec",
            "--pidfile", f"{place}/pid", "-H", self.host, "--storage-driver", self._storage,
            "--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{_CGROUP}",
            # Since Docker 27 the default; before, ip6tables was experimental.
            "--experimental", "--ip6tables", "--ipv6", "--fixed-cidr-v6", "fd00:d0c::/64",
        ]
        with (place / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", "-c", _OWN_PLACES, str(place), *daemon],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment(),
            )
        wait_until(self._answers, 60, "dockerd's API")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"dockerd ended: {(self._directory / 'log').read_text()[-2000:]}"
        return self.docker("version").returncode == 0

    def stop(self) -> None:
        """Its containers end with it, docker0 and the rules stay: so it is with any dockerd."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOPS_WITHIN)
            finally:
                self._process.kill()
                self._process.wait()
                self._process = None

    def docker(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[Any]:
        """Run the docker command against it; ``options`` are subprocess.run's."""
        command = [tools.program("docker"), "-H", self.host, *arguments]
        settings: dict[str, Any] = {"text": True, "timeout": 60, **options}
        return subprocess.run(command, check=False, capture_output=True, env=self._environment(), **settings)

    def ok(self, *arguments: str) -> str:
        """Run docker, see that it succeeds, and give its output without the last newline."""
        done = self.docker(*arguments)
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.returncode}: {done.stdout}{done.stderr}"
        return str(done.stdout).rstrip("\n")

    def inspect(self, name: str) -> Any:
        """`docker inspect` of one thing."""
        return json.loads(self.ok("inspect", name))[0]

    def load_busybox(self) -> None:
        """Load the image of `make run`, and run it once: what is made once and kept is made then."""
        done = self.docker("load", input=docker_archive({"busybox:latest": busybox_image()}), text=False)
        assert done.returncode == 0, done.stderr
        self.ok("run", "--rm", "busybox", "true")

    def remove_everything(self) -> None:
        """All containers gone, and the networks that a test made."""
        if ids := self.ok("ps", "-aq").split():
            self.ok("rm", "-f", *ids)
        self.ok("network", "prune", "-f")

    def kept(self) -> list[Kept]:
        """What dockerd and its containerd have open is theirs, and grows by use."""
        return [Kept("descriptors", r"\d+ \((dockerd|containerd)\): .*")]

    def forget(self) -> None:
        """Take away what a dockerd leaves on its host when it ends."""
        subprocess.run(["ip", "link", "delete", "docker0"], check=True)
        for family in ("ip", "ip6"):
            for table in ("filter", "nat"):
                name = f"{family} {table}"
                subprocess.run(["nft", f"add table {name}; delete table {name}"], check=True)
        for hierarchy in cgroups.hierarchies(Path("/proc/self/mountinfo").read_text()):
            for directory, _, _ in os.walk(hierarchy.mount / _CGROUP, topdown=False):
                os.rmdir(directory)
        shutil.rmtree(self._directory)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{tools.UNPACKED}:{os.environ['PATH']}", "HOME": f"{self._directory}/client",
                "DOCKER_CONFIG": f"{self._directory}/client", "DOCKER_BUILDKIT": "0"}


@contextmanager
def running(directory: Path, *, on_host: bool = False, storage: str = "vfs") -> Iterator[Dockerd]:
    """A dockerd with the image busybox for as long as the block lasts.

    ``on_host``: the caller has seen that the host has no rules of its own that would go with dockerd's."""
    assert on_host or world.inside(), "a dockerd writes to the rules of the host's firewall: only in a world"
    dockerd = Dockerd(directory, storage)
    unregister = leaks.register_baseline(dockerd.kept)
    try:
        dockerd.start()
        dockerd.load_busybox()
        yield dockerd
        dockerd.remove_everything()
    finally:
        dockerd.stop()
        with suppress(subprocess.CalledProcessError):
            dockerd.forget()
        unregister()
