"""Mounts that the shim makes beside the root file system, for the runtime to bind into the container.

A tmpfs that several containers have together is the kernel's to count: the first one's shim mounts it in its own mount
namespace, each other's takes a copy of that mount, and with the last of them it is gone, whoever died how.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from chassis.blocking import Pool
from chassis.errors import Unavailable
from execd.oci import mounts
from execd.records import Entry, Records
from execd.shim import protocol
from execd.shims import ShimLink
from pier.types.v1 import types_pb2

_ADDRESS: Final = "addr"
_PART: Final = "part"


@dataclass(frozen=True)
class Held:
    """``entries`` for the shim; ``binds``: by their targets in the container, where they are then."""

    entries: list[dict[str, Any]]
    binds: dict[bytes, str]


class Holder:
    """Says what a container's shim is to mount so, and of whom it can have it."""

    def __init__(self, records: Records, pool: Pool) -> None:
        self._records = records
        self._pool = pool
        self._sharing = asyncio.Lock()

    @asynccontextmanager
    async def held(self, entry: Entry, link: ShimLink) -> AsyncIterator[Held]:
        """What is held for the container. Mount it within the block: nobody else becomes the first meanwhile."""
        wanted = [spec for spec in entry.container.spec.mounts if mounts.is_held(spec)]
        async with AsyncExitStack() as stack:
            if any(spec.type == "tmpfs" for spec in wanted):
                await stack.enter_async_context(self._sharing)
            binds = link.run_dir / "binds"
            made = Held([], {})
            for number, spec in enumerate(wanted):
                made.entries.append(await self._entry(entry, spec, f"@/{number}"))
                made.binds[spec.target] = str(binds / str(number))
                if spec.type == mounts.OVERLAY and spec.subpath:
                    part = f"{number}{_PART}"
                    made.entries.append({
                        "type": "bind", "source": made.binds[spec.target], "target": f"@/{part}",
                        "options": ["bind", f"subpath={os.fsdecode(spec.subpath)}"],
                    })
                    made.binds[spec.target] = str(binds / part)
            yield made

    async def _entry(self, entry: Entry, spec: types_pb2.MountSpec, target: str) -> dict[str, Any]:
        if spec.type == mounts.OVERLAY:
            return {**mounts.for_shim(spec), "target": target}
        made: dict[str, Any] = {"type": spec.type, "source": os.fsdecode(spec.source), "target": target}
        if spec.type == "bind":
            shared = spec.propagation in ("shared", "rshared")
            words = ["rbind", "rshared"] if shared else ["rbind" if spec.recursive else "bind"]
            part = [f"subpath={os.fsdecode(spec.subpath)}"] if spec.subpath else []
            return {**made, "options": [*words, *part]}
        if spec.type == "tmpfs":
            found = await self._pool.run(self._mounted, entry, spec.source)
            if found is not None:
                namespace, path = found
                return {"type": protocol.FOREIGN, "source": namespace, "target": target,
                        "options": [path, "mountpoint"]}
        # Who only reads says so where it is bound: the others write.
        options = []
        for option in spec.options:
            value = os.fsdecode(option.value)
            if option.key == _ADDRESS:
                value = await _resolved(value)
            if option.key not in ("ro", "rw"):
                options.append(f"{option.key}={value}" if value else option.key)
        if spec.type == "tmpfs":
            made["source"] = "tmpfs"  # it is shown in the container, and the word is the host's matter
        return {**made, "options": options}

    def _mounted(self, entry: Entry, source: bytes) -> tuple[str, str] | None:
        """A shim's mount namespace where the tmpfs is mounted, and the path of it there; None where it is nowhere."""
        for other in self._records:
            shim = other.shim
            if other is entry or shim is None or not shim.pid:
                continue
            wanted = [spec for spec in other.container.spec.mounts if mounts.is_held(spec)]
            for number, spec in enumerate(wanted):
                path = os.path.realpath(shim.run_dir) + f"/binds/{number}"
                if spec.type == "tmpfs" and spec.source == source and _is_mounted(f"/proc/{shim.pid}/root{path}"):
                    return f"/proc/{shim.pid}/ns/mnt", path
        return None


def _is_mounted(path: str) -> bool:
    try:
        return os.lstat(path).st_dev != os.lstat(os.path.dirname(path)).st_dev
    except OSError:
        return False


async def _resolved(host: str) -> str:
    """mount(2) takes a server by its address alone."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unavailable(f"error resolving passed in network volume address: lookup {host}: {error.strerror}",
                          reason="NO_SUCH_HOST", field="options.o") from error
    return str(found[0][4][0])
