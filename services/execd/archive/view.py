"""Standing in a container: its mount namespace, or one like it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from chassis import jail, kernel, mountinfo
from execd.oci.rootfs import Rootfs
from execd.shim import mounts
from execd.shim.protocol import mount_entries

_CAPABILITIES: Final = jail.OF_FILES
_MEMORY: Final = 1 << 30
_KERNELS: Final = frozenset({"proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "debugfs", "tracefs",
                             "securityfs", "bpf", "configfs", "pstore", "fusectl", "efivarfs", "binfmt_misc"})
_DEVICES: Final = ("/dev", "/dev/shm")


class View:
    """``root`` is the container's root directory; ``hidden`` are the devices (st_dev) of file systems that are the
    kernel's, not the container's."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        # Of the host: in the container's own this process does not exist.
        self._proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if request.get("pidfd") is not None:
            kernel.setns(int(request["pidfd"]), kernel.CLONE_NEWNS)
            os.close(int(request["pidfd"]))
        else:
            _mount(request)
        self.hidden = self._kernels()
        jail.confine(_CAPABILITIES, memory=_MEMORY)
        self.root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def path_of(self, fd: int) -> bytes:
        """Where an open file is in the container, absolute."""
        return os.readlink(b"self/fd/%d" % fd, dir_fd=self._proc)

    def _kernels(self) -> frozenset[int]:
        fd = os.open("self/mountinfo", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        with open(fd, "rb") as file:
            mounted = mountinfo.parse(file.read())
        return frozenset(
            mount.device for mount in mounted
            if mount.kind in _KERNELS or (mount.kind == "tmpfs" and mount.point in _DEVICES))


def _mount(request: Mapping[str, Any]) -> None:
    """What a start would mount, in a namespace that ends with this process, on a directory that is not the host's."""
    run_dir = str(request["run_dir"])
    mounts.enter()
    kernel.mount(None, b"/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount(b"tmpfs", os.fsencode(run_dir), b"tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV)
    mounts.mount_all(mount_entries({"mounts": [*request["rootfs"], *request["layers"]]}), {}, run_dir)
    root = os.path.join(run_dir, "rootfs")
    for bind in mount_entries({"mounts": request["binds"]}):
        with Rootfs.of(os.getpid(), os.fsencode(root)) as rootfs:
            if mounts.is_directory(bind):
                rootfs.make_directory(os.fsencode(bind.target))
            else:
                rootfs.make_mount_point(os.fsencode(bind.target))
        mounts.mount_all([bind], {}, run_dir)
    os.chdir(root)
    jail.enter_working_directory()
