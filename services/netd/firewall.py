"""The nft table kept true: changes go through one thread, and what somebody else destroys is repaired at once.

A repair first seals every bridge (nothing is forwarded, 127.0.0.0/8 is martian), then writes the table, proves it, and
opens the bridges again: a flushed ruleset fails closed from the moment it is noticed. What remains is the time between
the flush and the notice, about a millisecond while netd runs, and for as long as netd does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from chassis.blocking import Pool
from chassis.logs import logger
from chassis.operations import Operations
from chassis.stages import stage
from netd import bridge, conntrack, neighbours
from netd.neighbours import Neighbours
from netd.netlink import NETLINK_NETFILTER, NetlinkSocket
from netd.nft import Nft, NftError
from netd.table import Bridge, PublishedPort, Table
from netd.watch import NftWatch

T = TypeVar("T")


class Firewall:
    """The instance's table, its watch, and the switches of the bridges that it guards."""

    def __init__(self, table_name: str, operations: Operations) -> None:
        self._threads = Pool("nft", 1)
        self._operations = operations
        self._nft = Nft()
        self.table = Table(self._nft, table_name)
        self._neighbours = Neighbours(self._nft, table_name)
        self._watch = NftWatch(table_name, self._on_foreign_change, neighbours.TABLE, self._on_neighbours_change)
        self._bridges: dict[str, Bridge] = {}
        self._repairing = False
        self._again = False
        self._settling = False
        self._neighbours_again = False
        self.repairs = 0

    async def start(self, bridges: Iterable[Bridge], ports: Iterable[PublishedPort]) -> None:
        """Write the whole table, open the bridges, begin to watch. Bridges that forward already go on while the table
        stands; where it is gone they are sealed until it is back."""
        wanted = list(bridges)
        self._bridges = {item.link: item for item in wanted}
        self._watch.start()
        async with stage("adopt.table"):
            await self._threads.run(self._load, wanted, list(ports))
            await self._settle()
            drops = await self._threads.run(self._neighbours.drops, min(self._bridges, default=""))
        for drop in drops:
            logger().warning(
                "another program's forward chain drops: containers have no way out unless it accepts them",
                family=drop.family, table=drop.table, chain=drop.chain,
            )

    def _load(self, bridges: list[Bridge], ports: list[PublishedPort]) -> None:
        if not self.table.exists():
            self._seal()
        self.table.load(bridges, ports)
        self._open()

    async def close(self, used: Iterable[str]) -> None:
        """Stop watching. The table stays, and so do the accepts of the bridges ``used``: containers depend on no
        service. Where nothing is attached, another program's chain is left as it was found."""
        self._watch.stop()
        kept = set(used)
        self._bridges = {link: item for link, item in self._bridges.items() if link in kept}
        await self._settle()
        await self._threads.run(self._nft.close)
        self._threads.close()

    async def add_bridge(self, item: Bridge) -> None:
        """Let the table know a bridge, and then open it."""
        def work() -> None:
            self.table.add_bridge(item)
            bridge.open_(item.link, item.gateways6)
            self._bridges[item.link] = item
        await self._run(work)
        await self._settle()

    async def remove_bridge(self, link: str) -> None:
        """Seal the bridge and forget it."""
        def work() -> None:
            bridge.seal(link)
            self._bridges.pop(link, None)
            self.table.remove_bridge(link)
        await self._run(work)
        await self._settle()

    async def publish(self, ports: list[PublishedPort]) -> None:
        def work() -> None:
            self.table.publish(ports)
            self._forget_flows(ports)
        await self._run(work)

    async def change(self, gone: list[PublishedPort], fresh: list[PublishedPort]) -> None:
        """Take ports away and add others, all or nothing."""
        def work() -> None:
            self.table.change(gone, fresh)
            self._forget_flows([*gone, *fresh])
        await self._run(work)

    async def unpublish(self, endpoint_ids: Iterable[str]) -> None:
        gone = list(endpoint_ids)
        await self._run(lambda: self._forget_flows(self.table.unpublish(*gone)))

    @staticmethod
    def _forget_flows(ports: Iterable[PublishedPort]) -> None:
        numbers = {port.host_port for port in ports if port.protocol == "udp"}
        if numbers:
            with NetlinkSocket(NETLINK_NETFILTER) as flows:
                conntrack.forget_udp(flows, numbers)

    async def differences(self) -> list[str]:
        return await self._threads.run(self.table.differences)

    async def reload(self, bridges: list[Bridge], ports: list[PublishedPort]) -> None:
        """Take that for what the table should hold, and write it."""
        self._bridges = {item.link: item for item in bridges}
        await self._threads.run(self._load, bridges, ports)

    def sealed(self) -> list[str]:
        """Bridges that should forward and do not."""
        return [link for link, item in sorted(self._bridges.items()) if not bridge.is_open(link, item.gateways6)]

    async def repair(self) -> None:
        """Seal, write the table, prove it, open."""
        async with stage("repair.table"):
            await self._threads.run(self._repair)
            self.repairs += 1

    async def _settle(self) -> None:
        """Our accepts in the neighbours' chain, as far as there is one, and their bridges in our table. The chain is
        theirs: what fails there is only told."""
        def work() -> None:
            if self.table.keep_apart(self._neighbours.bridges()):
                logger().info("another program's bridges were told to the table")
        await self._run(work)
        try:
            if await self._threads.run(self._neighbours.settle, sorted(self._bridges)):
                logger().info("accepts for the bridges were put right in another program's chain",
                              table=neighbours.TABLE, chain=neighbours.CHAIN)
        except NftError as error:
            logger().warning("another program's chain could not be changed", chain=neighbours.CHAIN, error=str(error))

    def _on_neighbours_change(self) -> None:
        self._neighbours_again = True
        if not self._settling:
            self._settling = True
            self._operations.spawn("neighbours' chain", self._settle_again)

    async def _settle_again(self) -> None:
        try:
            while self._neighbours_again:
                self._neighbours_again = False
                async with stage("repair.neighbours"):
                    await self._settle()
        finally:
            self._settling = False

    async def _run(self, work: Callable[[], T]) -> T:
        """A change fails where somebody took the table away a moment ago: then it is repaired, and made again."""
        try:
            return await self._threads.run(work)
        except Exception:
            if not await self.differences():
                raise
        await self.repair()
        return await self._threads.run(work)

    def _repair(self) -> None:
        self._seal()
        self.table.restore()
        self._open()

    def _seal(self) -> None:
        for link in self._bridges:
            bridge.seal(link)

    def _open(self) -> None:
        for link, item in self._bridges.items():
            bridge.open_(link, item.gateways6)

    def _on_foreign_change(self) -> None:
        self._again = True
        if not self._repairing:
            self._repairing = True
            self._operations.spawn("nft repair", self._check)

    async def _check(self) -> None:
        try:
            while self._again:
                self._again = False
                async with stage("repair.check"):
                    wrong = await self.differences()
                if wrong:
                    logger().warning("the nft table was changed by another program, repairing it", found=wrong[0])
                    await self.repair()
        finally:
            self._repairing = False
