"""Mounting an overlay: any number of layers by the new mount API, and by mount(2) where the kernel is older.

Source: Documentation/filesystems/overlayfs.rst, fsconfig(2), mount(2).
"""

from __future__ import annotations

import errno
import os
from typing import Final, NamedTuple

from chassis import kernel

_OPTION_MAX: Final = 255
_PAGE: Final = 4095
_MS_NOATIME: Final = 1024


class Overlay(NamedTuple):
    """What is to be mounted. ``lowers`` are paths, the upmost first; ``options`` are "key=value" or "key" (upperdir,
    workdir, …); ``attributes`` are MOUNT_ATTR_*; ``source`` is the name that mountinfo shows."""

    source: str
    lowers: list[str]
    options: list[str]
    attributes: int


def attach(wanted: Overlay, target: int) -> None:
    """Mount it at ``target``, a descriptor of a directory."""
    try:
        mount = _new(wanted)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS) or error.filename is None:
            raise
        _old(wanted, target)
        return
    try:
        kernel.move_mount(mount, target, b"")
    finally:
        os.close(mount)


def _new(wanted: Overlay) -> int:
    """Through fsopen(2): any number of layers (Linux 6.5). An OSError without a file name is the kernel's last word;
    one with the name of a layer may mean that this kernel does not know ``lowerdir+``."""
    context = kernel.fsopen(b"overlay")
    held: list[int] = []
    try:
        kernel.fsconfig_string(context, b"source", os.fsencode(wanted.source)[:_OPTION_MAX])
        for lower in wanted.lowers:
            kernel.fsconfig_string(context, b"lowerdir+", _short(os.fsencode(lower), held))
        for option in wanted.options:
            name, equals, value = option.partition("=")
            if equals:
                raw = os.fsencode(value)
                kernel.fsconfig_string(context, name.encode(), _short(raw, held) if value.startswith("/") else raw)
            else:
                kernel.fsconfig_flag(context, name.encode())
        try:
            kernel.fsconfig_create(context)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}{_kernel_says(context)}") from error
        return kernel.fsmount(context, wanted.attributes)
    finally:
        os.close(context)
        for fd in held:
            os.close(fd)


def _short(path: bytes, held: list[int]) -> bytes:
    """``path``, or a name for it that fsconfig(2)'s 255 bytes can hold."""
    if len(path) <= _OPTION_MAX:
        return path
    held.append(os.open(path, os.O_PATH | os.O_CLOEXEC))
    return b"/proc/self/fd/%d" % held[-1]


def _kernel_says(context: int) -> str:
    """The messages that the kernel left in the configuration context."""
    said = []
    try:
        while True:
            said.append(os.read(context, 4096).decode(errors="replace").strip())
    except OSError:
        pass
    return ": " + "; ".join(said) if said else ""


def _old(wanted: Overlay, target: int) -> None:
    """Through mount(2), for kernels before 6.5: one page of options, so paths are relative to what they share."""
    home = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    common = os.path.commonpath([os.path.dirname(lower) for lower in wanted.lowers])
    try:
        os.chdir(common)
        names = [os.path.relpath(lower, common) for lower in wanted.lowers]
        joined = ":".join(name.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,") for name in names)
        data = os.fsencode(",".join([*wanted.options, f"lowerdir={joined}"]))
        if len(data) > _PAGE:
            raise OSError(errno.E2BIG, f"{len(wanted.lowers)} layers are too many for this kernel (before 6.5)")
        place, flags = b"/proc/self/fd/%d" % target, mount_flags(wanted.attributes)
        kernel.mount(os.fsencode(wanted.source), place, b"overlay", flags, data)
    finally:
        os.fchdir(home)
        os.close(home)


def mount_flags(attributes: int) -> int:
    """MOUNT_ATTR_* as MS_*, for mount(2)."""
    flags = attributes & 0xF
    return flags | _MS_NOATIME if attributes & kernel.MOUNT_ATTR_NOATIME else flags
