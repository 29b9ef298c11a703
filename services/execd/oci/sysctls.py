"""Sysctls that a container may have: those that its own namespaces hold, and no others.

Source: namespaces(7), ipc_namespaces(7); Docker's list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from chassis.errors import InvalidArgument
from pier.exec.v1 import exec_pb2

_IPC: Final = frozenset({
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
    "kernel.shmmni", "kernel.shm_rmid_forced",
})
_KEY: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+", re.IGNORECASE)


def check(sysctls: Mapping[str, str], namespaces: Iterable[exec_pb2.NamespaceRef], field: str) -> None:
    """InvalidArgument (BAD_SYSCTL) names the first that is not namespaced, or whose namespace is the host's."""
    hosts = {reference.kind for reference in namespaces if reference.WhichOneof("source") == "host"}
    for key, value in sysctls.items():
        # A slash is a separator too for whoever writes below /proc/sys: "net/../kernel/x" must not be one of net's.
        if not _KEY.fullmatch(key) or "\0" in value or "\n" in value:
            raise _bad(key, field, "is not a sysctl's name and value")
        if key in _IPC or key.startswith("fs.mqueue."):
            kind, name = exec_pb2.NAMESPACE_KIND_IPC, "IPC"
        elif key.startswith("net."):
            kind, name = exec_pb2.NAMESPACE_KIND_NETWORK, "network"
        else:
            raise _bad(key, field, "is not in a separate kernel namespace")
        if kind in hosts:
            raise _bad(key, field, f"is not allowed in the host's {name} namespace")


def _bad(key: str, field: str, text: str) -> InvalidArgument:
    return InvalidArgument(f"sysctl {key[:80]!a} {text}", reason="BAD_SYSCTL", field=field)
