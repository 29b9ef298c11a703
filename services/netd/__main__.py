"""``python -m netd``: wiring only."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from chassis.blocking import Pool
from chassis.events import EventLog
from chassis.instance import make_private
from chassis.metrics import counter, gauge
from chassis.operations import Operations
from chassis.service import Runtime, main
from chassis.store import Store
from netd.dns import Dns
from netd.endpoints import Endpoints
from netd.firewall import Firewall
from netd.fsck import Fsck
from netd.ipam import parse_subnet
from netd.live_ports import LivePorts
from netd.netlink import NetlinkSocket
from netd.networks import Networks
from netd.records import MIGRATIONS
from netd.resolver import counters
from netd.sandboxes import Sandboxes
from netd.service import NetworkService
from netd.settings import NetdSettings, pools_of
from netd.spares import Spares
from pier.network.v1 import network_pb2_grpc

_NETLINK_THREADS = 4


@asynccontextmanager
async def build(runtime: Runtime[NetdSettings]) -> AsyncIterator[None]:
    """The service of one instance, its kernel side brought to what is recorded before it serves."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a socket holds each published port
    instance, settings = runtime.instance, runtime.settings
    directory = runtime.run / "ns"
    make_private(directory)
    store = await Store.open(runtime.state / "netd.db", MIGRATIONS)
    runtime.epoch = store.epoch
    operations = Operations()
    threads = Pool("netlink", _NETLINK_THREADS)
    events = runtime.events = EventLog(store, runtime.node_id)
    firewall = Firewall(instance.nft_table, operations)
    host = NetlinkSocket()
    networks = Networks(store, events, host, threads, firewall, instance, pools_of(settings, store.epoch))
    runtime.reload.follow(lambda settings: partial(networks.change_pools, pools_of(settings, store.epoch)))
    spares = Spares(directory, settings.spare_namespaces, threads, operations)
    sandboxes = Sandboxes(store, threads, spares, networks.marks, directory, runtime.boot_id)
    dns = Dns(instance.resolver_socket, threads, operations, directory.joinpath)
    endpoints = Endpoints(store, events, host, threads, firewall, operations, instance, networks, sandboxes, dns)
    fsck = Fsck(store, host, threads, firewall, networks, sandboxes, endpoints, spares, dns)

    await sandboxes.forget_other_boots()
    await fsck.load_table()
    subnet = parse_subnet(settings.default_subnet, "default_subnet") if settings.default_subnet else None
    await networks.start(subnet)
    await fsck.adopt()
    await dns.start(await fsck.served())
    spares.fill()

    live_ports = LivePorts(store, firewall, sandboxes, endpoints)
    service = NetworkService(store, events, operations, threads, networks, sandboxes, endpoints, live_ports, fsck)
    runtime.fsck = service.fsck
    gauge("pier_netd_published_ports", "Host ports held for endpoints.", lambda: endpoints.ports.count)
    gauge("pier_netd_addresses_in_use", "Addresses of all networks that endpoints hold.", lambda: networks.in_use)
    gauge("pier_netd_spare_namespaces", "Network namespaces kept ready.", lambda: len(spares.pins))
    gauge("pier_netd_table_repairs", "Times that the nft table was repaired since the start.", lambda: firewall.repairs)
    gauge("pier_netd_resolver_up", "1 while the resolver is connected.", lambda: dns.is_there)
    counter("pier_netd_dns_queries_total", "DNS queries of sandboxes, by what became of them.", "result",
            lambda: counters.read(str(instance.resolver_counters)))
    runtime.server.add(
        network_pb2_grpc.add_NetworkServiceServicer_to_server, service, "pier.network.v1.NetworkService"
    )
    try:
        yield
    finally:
        dns.close()
        await operations.close()
        await spares.close()
        await firewall.close(await networks.used_links())
        host.close()
        threads.close()
        await store.close()


if __name__ == "__main__":
    main("netd", NetdSettings, build, "Pier's networks: sandboxes, endpoints, addresses, published ports")
