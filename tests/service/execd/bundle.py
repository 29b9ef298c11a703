"""A bundle without imaged: busybox in a directory, and a small config.json of the runtime's own making."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

APPLETS = (
    "sh", "true", "false", "sleep", "echo", "cat", "dd", "head", "stty", "seq", "usleep", "printf", "id", "ls", "touch",
    "pwd", "env", "kill", "grep", "wc", "yes", "tail", "mount", "hostname", "readlink", "md5sum", "test",
)


def make_root(directory: Path) -> Path:
    """A root file system with Debian's static busybox in it."""
    for name in ("bin", "proc", "sys", "dev", "tmp", "etc", "root"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    shutil.copy("/bin/busybox", directory / "bin" / "busybox")
    for name in APPLETS:
        os.link(directory / "bin" / "busybox", directory / "bin" / name)
    (directory / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n")
    (directory / "etc" / "group").write_text("root:x:0:\nalice:x:1001:\nwheel:x:10:alice\n")
    return directory


def make_bundle(directory: Path, root: str, args: list[str], *, tty: bool = False, cgroup: str) -> Path:
    """config.json in ``directory``, from ``crun spec``."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "config.json"
    path.unlink(missing_ok=True)
    subprocess.run(["crun", "spec"], cwd=directory, check=True)
    config = json.loads(path.read_text())
    config["root"] = {"path": root, "readonly": False}
    config["process"].update(terminal=tty, args=args)
    config["linux"]["cgroupsPath"] = "/" + cgroup
    path.write_text(json.dumps(config))
    return directory
