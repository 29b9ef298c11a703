"""Which capabilities a process gets: Docker's default set, changed by add and drop (capabilities(7))."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from chassis.errors import InvalidArgument

NAMES: Final = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)
"""By number, as <linux/capability.h> has them."""
DEFAULT: Final = frozenset({
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
    "CAP_AUDIT_WRITE",
})
"""Docker's fourteen."""
_ALL: Final = "ALL"


@functools.cache
def bounding() -> frozenset[str]:
    """What this process may give at all: its bounding set (/proc/self/status, CapBnd)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            mask = int(line.split()[1], 16)
            return frozenset(name for number, name in enumerate(NAMES) if mask >> number & 1)
    return frozenset()


def parse(names: Iterable[str], field: str) -> frozenset[str]:
    """Names with or without ``CAP_``, in any case, or ALL; InvalidArgument (UNKNOWN_CAPABILITY) otherwise."""
    parsed = set()
    for given in names:
        name = given.upper()
        if name != _ALL and not name.startswith("CAP_"):
            name = f"CAP_{name}"
        if name != _ALL and name not in NAMES:
            raise InvalidArgument(
                f'{field}: unknown capability: "{ascii(name)[1:-1]}"', reason="UNKNOWN_CAPABILITY", field=field,
                expected="a capability of capabilities(7), or ALL",
            )
        parsed.add(name)
    return frozenset(parsed)


def effective(
    add: Iterable[str], drop: Iterable[str], *, privileged: bool, available: frozenset[str] | None = None
) -> frozenset[str]:
    """The set that add and drop make of Docker's default, within what the engine itself has.

    InvalidArgument (CAPABILITY_UNAVAILABLE) where one that is added by name is beyond that.
    """
    within = bounding() if available is None else available
    added = parse(add, "spec.process.capabilities_add")
    dropped = parse(drop, "spec.process.capabilities_drop")
    if privileged:
        return within
    beyond = added - within - {_ALL}
    if beyond:
        raise InvalidArgument(
            f"spec.process.capabilities_add: the engine itself does not have {', '.join(sorted(beyond))}",
            reason="CAPABILITY_UNAVAILABLE", field="spec.process.capabilities_add",
        )
    if _ALL in added:
        return within - dropped
    if _ALL in dropped:
        return added
    return ((DEFAULT & within) - dropped) | added
