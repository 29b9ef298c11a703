"""What Pier asks of the kernel: namespaces, overlays, links, nft, seccomp."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from pier_cli.system.doctor.check import Check, advice, failure, ok
from pier_cli.system.doctor.files import Files

AREA: Final = "kernel"
NEEDED: Final = {
    "overlayfs": "root file systems are overlays: load the module overlay, and keep the state directory on ext4, xfs "
                 "(ftype=1) or btrfs",
    "namespaces": "run the engine as root on the host itself, not within a container without CAP_SYS_ADMIN",
    "bridge and veth": "load the modules bridge and veth; see that the unit keeps CAP_NET_ADMIN",
    "nft": "install Debian's libnftables1, load the modules nf_tables, nft_nat and nft_masq",
    "openat2": "a kernel of at least 5.6 is needed, and a seccomp profile around the engine that lets openat2 pass",
    "pidfd": "a kernel of at least 5.3 is needed",
}
_GOOD: Final = {
    "user namespaces": "nothing that is built needs them; for later: sysctl user.max_user_namespaces",
    "IPv6": "networks with IPv6 are refused; boot without ipv6.disable=1",
}


def checks(files: Files, tried: Callable[[str], str]) -> Iterator[Check]:
    """``tried(NAME)`` is what the probe of that name failed with, "" for nothing."""
    yield ok(AREA, "version", files.text("/proc/sys/kernel/osrelease") or "unknown")
    for name, todo in NEEDED.items():
        said = tried(name)
        yield failure(AREA, name, said, todo) if said else ok(AREA, name, "works")
    for name, todo in _GOOD.items():
        said = tried(name)
        yield advice(AREA, name, said, todo) if said else ok(AREA, name, "works")
    yield from _seccomp(files)
    yield from _modules(files)


def _seccomp(files: Files) -> Iterator[Check]:
    actions = files.text("/proc/sys/kernel/seccomp/actions_avail").split()
    if {"errno", "allow"} <= set(actions):
        yield ok(AREA, "seccomp", f"filters with {' '.join(actions)}")
    else:
        yield failure(AREA, "seccomp", "the kernel has no filters", "containers are refused without one: take a kernel "
                      "with CONFIG_SECCOMP_FILTER, or run with --security-opt seccomp=unconfined, knowing what that "
                      "opens")


def _modules(files: Files) -> Iterator[Check]:
    if files.at("/dev/fuse").exists():
        yield ok(AREA, "FUSE", "/dev/fuse")
    else:
        yield advice(AREA, "FUSE", "no /dev/fuse",
                     "only containers that mount FUSE file systems miss it: modprobe fuse")
    lsm = files.text("/sys/kernel/security/lsm")
    if lsm:
        yield ok(AREA, "security modules", lsm)
