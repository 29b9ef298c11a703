"""Where things of a container are on disk: state kept over reboots, and the run directory of each life."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from execd.oci import cgroup_parent
from execd.shims import run_directory
from pier.exec.v1 import exec_pb2


@dataclass(frozen=True)
class Places:
    """``state`` is execd's directory below the instance's root, ``run`` the one below its run directory."""

    state: Path
    run: Path
    cgroup_parent: str

    def home(self, container: str) -> Path:
        """A container's own directory: its logs, exit records and generated files."""
        return self.state / "containers" / container

    def log(self, container: str) -> Path:
        return self.home(container) / "json.log"

    def sent(self, container: str) -> Path:
        """How far the log's destination has it."""
        return self.home(container) / "sent"

    def exit(self, container: str, incarnation: int) -> Path:
        return self.home(container) / f"exit-{incarnation}.json"

    def exec_exit(self, container: str, exec_id: str) -> Path:
        return self.home(container) / "execs" / f"{exec_id}.json"

    def file(self, container: str, name: str) -> Path:
        """hosts, resolv.conf or hostname."""
        return self.home(container) / name

    @property
    def shims(self) -> Path:
        return self.run / "shims"

    @property
    def archives(self) -> Path:
        """Where the archives' program mounts what does not run, in a namespace of its own."""
        return self.run / "archives"

    @property
    def probes(self) -> Path:
        return self.run / "probes"

    def run_dir(self, container: str, incarnation: int) -> Path:
        return run_directory(self.shims, container, incarnation)

    def cgroup(self, container: exec_pb2.Container) -> str:
        """Below each hierarchy's mount, without a leading slash."""
        return cgroup_parent.path(self.cgroup_parent, container.spec.cgroup_parent, container.id)

    def make_home(self, container: str) -> None:
        (self.home(container) / "execs").mkdir(mode=0o700, parents=True, exist_ok=True)

    def remove_home(self, container: str) -> None:
        try:
            shutil.rmtree(self.home(container))
        except FileNotFoundError:
            return

    def remove_run_dir(self, run_dir: Path) -> None:
        shutil.rmtree(run_dir, ignore_errors=True)


def write_file(path: Path, data: bytes) -> None:
    """Replace what the file holds, in place: the container has this very file mounted."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, 0o644)
        file.write(data)
