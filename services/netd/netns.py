"""Pinned network namespaces: files below the instance's run directory on which a namespace is bind-mounted.

A namespace lives while something holds it: its pin, a process inside, an open descriptor or socket. The pin is what
outlives netd. Only a dedicated thread enters a namespace, and it ends there; nothing forks. What the thread brings
out is a netlink socket, which belongs to the namespace until it is closed.

A pin is made before anybody owns it, as ``pool-`` and 16 hexadecimal digits; ``repin`` gives it its owner's name, the
sandbox's id. The whole owner stands in the alias of the namespace's loopback link, and in the database.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from chassis import kernel
from netd import links
from netd.netlink import NetlinkSocket

T = TypeVar("T")
_SELF: Final = b"/proc/thread-self/ns/net"
_NS_GET_NSTYPE: Final = 0xB703
_OF_ANYBODY: Final = (("net/ipv4/ip_unprivileged_port_start", "0"), ("net/ipv4/ping_group_range", "0 2147483647"))
"""What in a namespace of one's own needs no privilege: every port, and ping. As Docker has it since 20.10."""
SPARE: Final = "pool-"
"""How the names of pins without an owner begin."""


@dataclass(frozen=True)
class Netns:
    """A pinned namespace."""

    path: Path


def _in_thread(function: Callable[[], T]) -> T:
    """The result of ``function``, run in a thread that ends right after it: it may change the thread's namespace."""
    future: Future[T] = Future()

    def body() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
            future.set_exception(error)

    thread = threading.Thread(target=body, name="netns", daemon=True)
    thread.start()
    thread.join()
    return future.result()


def make(directory: Path) -> tuple[Netns, NetlinkSocket]:
    """A new pinned namespace with its loopback up, and a socket inside it that the caller closes.

    IPv6 is off on links that come later, until ``enable_ipv6``; loopback keeps ::1. Ports below 1024 are anybody's.
    """
    return _in_thread(lambda: _make_here(directory))


def _make_here(directory: Path) -> tuple[Netns, NetlinkSocket]:
    path = directory / f"{SPARE}{secrets.token_hex(8)}"
    kernel.unshare(kernel.CLONE_NEWNET)
    _write_sysctl("net/ipv6/conf/default/disable_ipv6", "1")
    for name, value in _OF_ANYBODY:
        _write_sysctl(name, value)
    sock = NetlinkSocket()
    try:
        sock.run([links.set_link("lo", up=True)])
        _pin(_SELF, path)
        return Netns(path), sock
    except BaseException:
        sock.close()
        raise


def repin(made: Netns, name: str) -> Netns:
    """The same namespace under another name in the same directory; a pin of that name without an owner goes first."""
    path = made.path.parent / name
    unpin(path)
    fd = open_pin(made.path)
    try:
        _pin(f"/proc/self/fd/{fd}".encode(), path)
    finally:
        os.close(fd)
    unpin(made.path)
    return Netns(path)


def _pin(source: bytes, path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
    try:
        kernel.mount(source, os.fsencode(path), None, kernel.MS_BIND)
    except BaseException:
        path.unlink()
        raise


def enable_ipv6(link: str) -> None:
    """Switch IPv6 on for a link of the calling thread's namespace, which is down still. Its addresses are usable at
    once, and nobody on the network gives it an address or a route: whatever a neighbour says of itself, it is no
    router."""
    for name, value in (("accept_ra", "0"), ("autoconf", "0"), ("dad_transmits", "0"), ("disable_ipv6", "0")):
        _write_sysctl(f"net/ipv6/conf/{link}/{name}", value)


def _write_sysctl(name: str, value: str) -> None:
    """Settings below /proc/sys/net are those of the thread's own namespace; without IPv6 there is nothing to set."""
    try:
        Path("/proc/sys", name).write_text(value)
    except FileNotFoundError:
        return


def enter(path: Path) -> NetlinkSocket:
    """A netlink socket inside the namespace pinned at ``path``, which the caller closes."""
    return inside(path, NetlinkSocket)


def inside(path: Path, function: Callable[[], T]) -> T:
    """What ``function`` returns when it is run inside the namespace pinned at ``path``."""
    fd = open_pin(path)
    try:
        def body() -> T:
            kernel.setns(fd, kernel.CLONE_NEWNET)
            return function()
        return _in_thread(body)
    finally:
        os.close(fd)


def open_pin(path: Path) -> int:
    """A descriptor of the namespace; OSError EINVAL where nothing is pinned on the file."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    if not is_namespace(fd):
        os.close(fd)
        raise OSError(errno.EINVAL, "no namespace is pinned here", str(path))
    return fd


def is_namespace(fd: int) -> bool:
    """Does the descriptor stand for a network namespace rather than for the plain file beneath a lost pin?"""
    try:
        return fcntl.ioctl(fd, _NS_GET_NSTYPE) == kernel.CLONE_NEWNET
    except OSError as error:
        if error.errno != errno.ENOTTY:
            raise
        return False


def is_pinned(path: Path) -> bool:
    """Is a namespace pinned on the file? False also where there is no file."""
    try:
        os.close(open_pin(path))
    except OSError:
        return False
    return True


def unpin(path: Path) -> None:
    """Take the pin and its file away; what is gone already is no error. The kernel then clears the namespace by
    itself, some milliseconds later, unless a process is still inside."""
    try:
        kernel.umount(os.fsencode(path), kernel.MNT_DETACH | kernel.UMOUNT_NOFOLLOW)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise
    path.unlink(missing_ok=True)


def pins(directory: Path) -> list[Path]:
    """Every pin file of the directory, with a namespace on it or not."""
    return sorted(directory.iterdir()) if directory.is_dir() else []
