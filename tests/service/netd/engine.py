"""A real netd process in the world, driven over its socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chassis import stages
from chassis.client import Peer
from chassis.errors import PierError
from chassis.instance import Instance, instance, make_private
from netd import links, netns, wiring
from netd.netlink import NetlinkSocket
from netd.resolver import program
from pier.network.v1 import network_pb2 as net
from pier.network.v1 import network_pb2_grpc
from pier.system.v1 import system_pb2, system_pb2_grpc
from pier.types.v1 import types_pb2
from tests.service.netd.packets import PATIENCE_SECONDS

START_SECONDS = 60.0
RESOLVER = str(Path(program.__file__).with_name("__main__.py"))


def container(number: int) -> str:
    """A container's id."""
    return f"{number:064x}"


def tcp(host_port: int, host_ip: str = "", container_port: int = 80, protocol: str = "tcp") -> net.PublishedPort:
    return net.PublishedPort(
        protocol=protocol, container_port=container_port, host_ip=host_ip, host_port=host_port
    )


@dataclass(frozen=True)
class Counts:
    """What netd makes, counted."""

    links: frozenset[str]
    pins: int
    mounts: int
    fds: int


class Netd:
    """One instance. ``start`` it, call it, ``kill`` it, start it again."""

    def __init__(self, name: str, log: Path, options: Sequence[str] = (), *, quiet: bool = False) -> None:
        """``options`` are put before its command. ``quiet``: it logs as a host's does, where time is measured."""
        self.instance: Instance = instance(name)
        self._options = options
        self._level = "info" if quiet else "debug"
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.resolver: subprocess.Popen[bytes] | None = None
        self._peer: Peer | None = None

    async def start(self, faults: str = "", spare_namespaces: int = 0, wait: bool = True) -> None:
        """Run it, and wait until it serves, or until it has died where ``wait`` is False.

        Spare namespaces come and go by themselves; without them counts are exact.
        """
        environ = {**os.environ, "PIER_FAULT": faults}
        self.start_resolver()
        self._process = self._spawn(environ, spare_namespaces)
        if not wait:
            await asyncio.wait_for(asyncio.to_thread(self._process.wait), START_SECONDS)
            return
        self._peer = Peer("netd", self.instance.socket("netd"))
        # A stale socket of a killed process stays until the new one is bound: the channel connects again and again.
        if not await self._serving():
            raise AssertionError(f"netd does not serve:\n{self._log.read_text()[-4000:]}")

    def _spawn(self, environ: dict[str, str], spare_namespaces: int) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [*self._options, sys.executable, "-m", "netd", "--instance", self.instance.name, "--metrics-port", "0",
                 "--log-level", self._level, "--spare-namespaces", str(spare_namespaces)],
                env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )

    def start_resolver(self) -> None:
        """Run the instance's resolver, unless it runs."""
        if self.resolver is not None and self.resolver.poll() is None:
            return
        make_private(self.instance.run)
        with self._log.open("ab") as log:
            self.resolver = subprocess.Popen(
                [sys.executable, "-I", "-S", "-E", RESOLVER, "--socket", str(self.instance.resolver_socket),
                 "--counters", str(self.instance.resolver_counters)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )

    def kill_resolver(self) -> None:
        """SIGKILL, and its end."""
        assert self.resolver is not None
        self.resolver.kill()
        self.resolver.wait()

    async def _serving(self) -> bool:
        assert self._peer is not None
        ready = asyncio.ensure_future(self._peer.channel.channel_ready())
        ended = asyncio.ensure_future(asyncio.to_thread(self.process.wait))
        await asyncio.wait({ready, ended}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not ready.done():
            ready.cancel()
            return False
        return True

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int:
        """The service's own, also where a tracer started it."""
        if not self._options:
            return self.process.pid
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    async def kill(self) -> None:
        """SIGKILL, and its end."""
        os.kill(self.pid, signal.SIGKILL)
        await self.ended()

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return await self.ended()

    async def ended(self) -> int:
        code = await asyncio.to_thread(self.process.wait)
        if self._peer is not None:
            await self._peer.close()
            self._peer = None
        return code

    @property
    def peer(self) -> Peer:
        assert self._peer is not None
        return self._peer

    @property
    def stub(self) -> Any:
        return network_pb2_grpc.NetworkServiceStub(self.peer.channel)

    async def create(self, number: int, **fields: Any) -> net.Sandbox:
        """A sandbox whose owner is container ``number``."""
        answer = await self.peer.call(self.stub.CreateSandbox, self.create_request(number, **fields))
        return answer.sandbox  # type: ignore[no-any-return]

    def create_request(self, number: int, **fields: Any) -> net.CreateSandboxRequest:
        owner = types_pb2.Owner(manager="test", namespace="docker", id=container(number))
        return net.CreateSandboxRequest(id=container(number), owner=owner, **fields)

    async def attach(
        self, number: int, network: str = "bridge", ports: Sequence[net.PublishedPort] = (), **spec: Any
    ) -> net.Endpoint:
        answer = await self.peer.call(self.stub.Attach, net.AttachRequest(
            sandbox_id=container(number),
            attachment=net.Attachment(network=network, ports=ports, spec=net.EndpointSpec(**spec)),
        ))
        return answer.endpoint  # type: ignore[no-any-return]

    async def set_ports(self, number: int, *ports: net.PublishedPort, network: str = "bridge") -> net.Endpoint:
        answer = await self.peer.call(self.stub.SetPorts, net.SetPortsRequest(
            sandbox_id=container(number), network=network, ports=ports))
        return answer.endpoint  # type: ignore[no-any-return]

    async def detach(self, number: int, network: str = "bridge") -> None:
        await self.peer.call(self.stub.Detach, net.DetachRequest(sandbox_id=container(number), network=network))

    async def remove(self, number: int) -> None:
        await self.peer.call(self.stub.RemoveSandbox, net.RemoveSandboxRequest(id=container(number)))

    async def create_network(self, number: int, name: str, **spec: Any) -> net.Network:
        answer = await self.peer.call(self.stub.CreateNetwork, net.CreateNetworkRequest(
            id=container(number), name=name, spec=net.NetworkSpec(**{"driver": "bridge", **spec}),
            owner=types_pb2.Owner(manager="test", namespace="docker", id=name),
        ))
        return answer.network  # type: ignore[no-any-return]

    async def remove_network(self, name: str) -> None:
        await self.peer.call(self.stub.RemoveNetwork, net.RemoveNetworkRequest(namespace="docker", network=name))

    async def network(self, name: str = "bridge") -> net.Network:
        answer = await self.peer.call(self.stub.GetNetwork, net.GetNetworkRequest(namespace="docker", network=name))
        return answer.network  # type: ignore[no-any-return]

    async def sandboxes(self) -> list[net.Sandbox]:
        answer = await self.peer.call(self.stub.ListSandboxes, net.ListSandboxesRequest())
        return list(answer.sandboxes)

    async def fsck(self, repair: bool = False) -> list[system_pb2.Finding]:
        stub = system_pb2_grpc.SystemServiceStub(self.peer.channel)
        answer = await self.peer.call(stub.Fsck, system_pb2.FsckRequest(repair=repair))
        return list(answer.findings)

    async def settled(self) -> None:
        """The kernel has taken every removed link away: told by its own events, not by time."""
        await asyncio.to_thread(links_gone, self.instance.link_prefix)

    async def settled_but_recorded(self) -> None:
        """As ``settled``, but for the links of endpoints that are recorded."""
        answers = [sandbox.endpoints for sandbox in await self.sandboxes()]
        kept = {self.instance.endpoint_link(endpoint.id) for endpoints in answers for endpoint in endpoints}
        await asyncio.to_thread(links_gone, self.instance.link_prefix, kept)

    async def pretend_other_boot(self) -> None:
        """What is recorded was made in another boot."""
        with contextlib.closing(sqlite3.connect(self.instance.state("netd") / "netd.db")) as database, database:
            database.execute("UPDATE sandboxes SET boot_id='another'")

    def counts(self) -> Counts:
        with NetlinkSocket() as sock:
            names = frozenset(link.name for link in links.all_links(sock))
        return Counts(
            links=names,
            pins=len(netns.pins(self.instance.runtime("netd") / "ns")),
            mounts=len(Path("/proc/self/mountinfo").read_text().splitlines()),
            fds=len(os.listdir(f"/proc/{self.pid}/fd")),
        )

    def stages_logged(self) -> list[str]:
        """Names of the stages that the log shows, in order."""
        found = []
        for line in self._log.read_text().splitlines():
            if line.startswith("{"):
                entry = json.loads(line)
                if entry.get("event") == "stage":
                    found.append(entry["stage"])
        return found

    async def clean_up(self) -> None:
        """Remove all that the instance made, running or not."""
        if self._process is None:
            return
        try:
            if self._process.poll() is not None or self._peer is None:
                await self.start()
            await self._remove_sandboxes()
        except PierError:  # killed by a fault that its test has left armed
            await self.ended()
            await self.start()
            await self._remove_sandboxes()
        await self.settled()
        await self.stop()
        self._forget()

    async def _remove_sandboxes(self) -> None:
        for sandbox in await self.sandboxes():
            await self.peer.call(self.stub.RemoveSandbox, net.RemoveSandboxRequest(id=sandbox.id))

    def _forget(self) -> None:
        self.kill_resolver()
        table = self.instance.nft_table
        with NetlinkSocket() as sock:
            wiring.delete(sock, [each.name for each in links.all_links(sock) if each.alias.startswith(f"{table} ")])
        run("nft", f"add table inet {table}; delete table inet {table}")
        shutil.rmtree(self.instance.root)
        shutil.rmtree(self.instance.run)


def run(*command: str) -> None:
    """Another program on the host."""
    subprocess.run(command, check=True)


def links_gone(prefix: str, kept: Collection[str] = ()) -> None:
    """Wait for the end of every veth whose name begins so, those in ``kept`` and networks' own left out."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as events, NetlinkSocket() as sock:
        events.bind((0, links.RTNLGRP_LINK))
        while any(
            link.name.startswith(prefix) and link.kind == "veth" and link.name not in kept
            and link.name[len(prefix):len(prefix) + 1] not in ("n", "p")
            for link in links.all_links(sock)
        ):
            assert select.select([events], [], [], PATIENCE_SECONDS)[0], "a link of a removed sandbox stays"
            events.recv(65536)


async def stages_of(work: Any) -> list[str]:
    """The stages, of all services, that awaiting ``work`` went through."""
    with stages.trace("test") as root:
        await work
    found: list[str] = []

    def walk(span: types_pb2.Span) -> None:
        for child in span.children:
            if "." in child.name:
                found.append(child.name)
            walk(child)

    walk(root.to_span())
    return found
