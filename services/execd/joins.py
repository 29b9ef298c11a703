"""Namespaces of other containers, held open while a start joins them.

A descriptor of a namespace stays what it is when its process ends and another takes the number: what is opened here
and found alive afterwards is the other container's, and no longer needs its process.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from chassis.errors import Conflict
from execd.records import Entry, Records
from pier.exec.v1 import exec_pb2

PID: Final = exec_pb2.NAMESPACE_KIND_PID
IPC: Final = exec_pb2.NAMESPACE_KIND_IPC
_FILES: Final = {PID: "pid", IPC: "ipc"}
_WORDS: Final = {PID: "PID", IPC: "IPC"}


@dataclass(frozen=True)
class Joined:
    """``namespaces`` by path, valid until the block ends; ``shm`` is the mount namespace whose /dev/shm is shared."""

    namespaces: tuple[exec_pb2.NamespaceRef, ...] = ()
    shm: str = ""


@contextmanager
def joined(records: Records, spec: exec_pb2.ContainerSpec) -> Iterator[Joined]:
    """What ``spec`` takes of other containers. Conflict: NOT_RUNNING, NOT_SHAREABLE."""
    with ExitStack() as held:
        found, shm = [], ""
        for reference in spec.namespaces:
            if reference.WhichOneof("source") != "container":
                continue
            other = records.need(reference.container)
            paths = [_FILES[reference.kind]]
            if reference.kind == IPC:
                _check_shareable(other)
                paths.append("mnt")
            path, *more = _opened(other, paths, _WORDS[reference.kind], held)
            found.append(exec_pb2.NamespaceRef(kind=reference.kind, path=path.encode()))
            shm = more[0] if more else shm
        yield Joined(tuple(found), shm)


def _opened(other: Entry, names: Sequence[str], word: str, held: ExitStack) -> list[str]:
    """Namespaces of the container's first process, as paths that others can open."""
    problem = Conflict(f"cannot join {word} of a non running container: {other.id}", reason="NOT_RUNNING",
                       field="spec.namespaces")
    pid = other.container.status.pid
    if not other.is_running() or other.pidfd < 0:
        raise problem
    paths = []
    for name in names:
        try:
            fd = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise problem from error
        held.callback(os.close, fd)
        paths.append(f"/proc/{os.getpid()}/fd/{fd}")
    ended = select.poll()
    ended.register(other.pidfd, select.POLLIN)
    if ended.poll(0):
        raise problem
    return paths


def _check_shareable(other: Entry) -> None:
    spec = other.container.spec
    shared = any(reference.kind == IPC for reference in spec.namespaces)  # the host's, or another's that was shareable
    if not spec.shareable_ipc and not shared:
        raise Conflict(
            f"cannot join IPC of container {other.id}: non-shareable IPC (hint: use IpcMode:shareable for the donor "
            "container)", reason="NOT_SHAREABLE", field="spec.namespaces",
        )
