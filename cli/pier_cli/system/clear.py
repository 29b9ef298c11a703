"""``pier system clear``: take away what the engine leaves in the kernel for containers that go on without it.

Bridges, the firewall table, pinned namespaces, the resolver and empty cgroups stay when the services stop, because
containers depend on no service. Who removes the engine from the host has stopped both, and takes them away by this.
State on the disk is not touched: services that start again make anew what containers need.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from chassis import kernel
from chassis.errors import Conflict
from chassis.instance import SERVICES, Instance
from pier_cli.system import nftables, rtnetlink, silence

_SPARE = "pool-"


async def run(engine: Instance, arguments: argparse.Namespace) -> int:
    """0, or 1 where something could not be taken away. Conflict where a service or a container runs."""
    _refuse_where_used(engine)
    failed = 0
    for what, step in _steps(engine):
        try:
            step()
        except (OSError, ValueError) as error:
            print(f"{what}: {error}", file=sys.stderr)
            failed += 1
        else:
            print(f"{what}: gone")
    return int(failed > 0)


def _refuse_where_used(engine: Instance) -> None:
    for service in SERVICES:
        found = silence.of(engine, service)
        if found.pid:
            raise Conflict(f"{service} runs (pid {found.pid}): stop the services first", reason="RUNNING")
    used = {os.stat(pin).st_ino: pin.name for pin in _pins(engine) if not pin.name.startswith(_SPARE)}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if name := used.get((entry / "ns" / "net").stat().st_ino):
                raise Conflict(f"container {name[:12]} runs (pid {entry.name}): stop it first", reason="RUNNING")


def _pins(engine: Instance) -> list[Path]:
    directory = engine.runtime("netd") / "ns"
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _steps(engine: Instance) -> Iterator[tuple[str, Callable[[], object]]]:
    resolver = silence.of(engine, "resolver")
    if resolver.pid:
        yield "resolver", partial(os.kill, resolver.pid, signal.SIGKILL)
    for pin in _pins(engine):
        yield f"namespace {pin.name}", partial(_unpin, pin)
    ours = re.compile(rf"{engine.bridge}|{engine.link_prefix}(n[0-9a-f]{{6}}|[0-9a-f]{{7}})")
    for name in sorted(os.listdir("/sys/class/net")):
        if ours.fullmatch(name):
            yield f"link {name}", partial(_delete, name)
    tables = [str(body["family"]) for kind, body in nftables.listing("tables")
              if kind == "table" and body["name"] == engine.nft_table]
    for family in tables:
        yield f"table {family} {engine.nft_table}", partial(nftables.run, f"delete table {family} {engine.nft_table}")
    for path in _cgroups(engine):
        yield f"cgroup {path}", path.rmdir


def _unpin(pin: Path) -> None:
    with suppress(OSError):
        kernel.umount(bytes(pin), kernel.MNT_DETACH)
    pin.unlink(missing_ok=True)


def _delete(link: str) -> None:
    with suppress(OSError):  # its other end was deleted a moment ago, and it with that
        rtnetlink.delete(link)
    if os.path.exists(f"/sys/class/net/{link}"):
        raise OSError("it cannot be deleted")


def _cgroups(engine: Instance) -> Iterator[Path]:
    """The instance's cgroups in each hierarchy, the innermost first."""
    for row in (line.split() for line in Path("/proc/self/mounts").read_text().splitlines()):
        top = Path(row[1]) / engine.cgroup_parent
        if row[2] in ("cgroup", "cgroup2") and top.is_dir():
            yield from sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True)
            yield top
