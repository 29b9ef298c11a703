"""Features of the kernel, judged by use in namespaces of the prober's own: nothing is left, whatever happens.

Every probe is a function that raises OSError (or another exception, of which the text is shown) where the kernel
refuses. It runs in a child, so that the namespaces that it enters are its alone.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from chassis import kernel
from pier_cli.system import nftables, rtnetlink

_OVERLAY_OPTIONS: Final = "redirect_dir=nofollow,metacopy=off,index=off"
_NFT_RULES: Final = (
    "add table ip doctor; add chain ip doctor out { type nat hook postrouting priority 100; };"
    "add rule ip doctor out masquerade;"
    "add map ip doctor ports { type inet_service : ipv4_addr . inet_service; };"
    "add chain ip doctor in { type nat hook prerouting priority -100; };"
    "add rule ip doctor in dnat ip to tcp dport map @ports"
)
_MOST_SAID: Final = 500


def overlay(state: Path) -> None:
    """An overlay whose writable directory lies in ``state``, or in a tmpfs where that does not exist yet."""
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount(None, b"/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    if not state.is_dir():
        kernel.mount(b"doctor", b"/tmp", b"tmpfs")
        state = Path("/tmp")
    home = Path(tempfile.mkdtemp(prefix=".doctor-", dir=state))
    try:
        for name in ("lower", "upper", "work", "merged"):
            (home / name).mkdir()
        options = f"lowerdir={home}/lower,upperdir={home}/upper,workdir={home}/work,{_OVERLAY_OPTIONS}"
        kernel.mount(b"overlay", os.fsencode(home / "merged"), b"overlay", 0, options.encode())
        try:
            (home / "merged" / "file").write_text("written")
        finally:
            kernel.umount(os.fsencode(home / "merged"), kernel.MNT_DETACH)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def namespaces(_state: Path) -> None:
    """Those that a container gets: mount, pid, network, ipc, uts, cgroup."""
    kernel.unshare(
        kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
        | kernel.CLONE_NEWCGROUP
    )


def user_namespaces(_state: Path) -> None:
    kernel.unshare(kernel.CLONE_NEWUSER)


def links(_state: Path) -> None:
    """A bridge, and a veth pair with one end in it."""
    kernel.unshare(kernel.CLONE_NEWNET)
    rtnetlink.make_bridge("doctor0")
    rtnetlink.make_veth("doctor1", "doctor2", "doctor0")


def nft(_state: Path) -> None:
    """A table with masquerading and published ports as netd writes it."""
    kernel.unshare(kernel.CLONE_NEWNET)
    nftables.run(_NFT_RULES)


def openat2(_state: Path) -> None:
    """Paths resolved within a root: all work on a container's files stands on it."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.close(kernel.openat2(root, b"proc/..", os.O_PATH, kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS))


def pidfd(_state: Path) -> None:
    os.close(os.pidfd_open(os.getpid()))


def ipv6(_state: Path) -> None:
    socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()


PROBES: Final[dict[str, Callable[[Path], None]]] = {
    "overlayfs": overlay, "namespaces": namespaces, "user namespaces": user_namespaces, "bridge and veth": links,
    "nft": nft, "openat2": openat2, "pidfd": pidfd, "IPv6": ipv6,
}


def tried(name: str, state: Path) -> str:
    """What probe ``name`` fails with, "" where it succeeds. The caller has one thread."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        said = "it was killed"
        try:
            os.close(reader)
            PROBES[name](state)
            said = ""
        except BaseException as error:  # noqa: BLE001 - a forked child must not run the parent's code
            said = str(error) or type(error).__name__
        finally:
            os.write(writer, said.encode(errors="replace")[:_MOST_SAID])
            sys.stderr.flush()
            os._exit(1 if said else 0)
    os.close(writer)
    with open(reader, "rb") as answer:
        said = answer.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    return said or ("" if status == 0 else "it was killed")
