"""Clients of imaged, netd and execd, each over one kept channel."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from chassis.client import Peer
from chassis.instance import Instance
from pier.exec.v1 import exec_pb2_grpc
from pier.image.v1 import image_pb2_grpc
from pier.network.v1 import network_pb2_grpc
from pier.system.v1 import system_pb2_grpc
from pier.types.v1 import types_pb2

NAMESPACE: Final = "docker"
"""Namespace of names and images that Docker's clients see."""

_OWNER_ID_MAX: Final = 128


@dataclass(frozen=True)
class Services:
    """The peers and their stubs. ``manager`` owns what is made through them, ``namespace`` is that of its containers.

    ``unsettled`` is set where a verb may have left something half done: the reconciler then looks soon.
    """

    manager: str
    imaged: Peer
    netd: Peer
    execd: Peer
    namespace: str = NAMESPACE
    unsettled: asyncio.Event = field(default_factory=asyncio.Event, compare=False)

    @classmethod
    def connect(cls, instance: Instance, manager: str, namespace: str = NAMESPACE) -> Services:
        """Channels to the three services of ``instance``; nothing is dialled before the first call."""
        imaged, netd, execd = (Peer(name, instance.socket(name)) for name in ("imaged", "netd", "execd"))
        return cls(manager, imaged, netd, execd, namespace)

    def owner(self, id_: str) -> types_pb2.Owner:
        """The owner of container ``id_`` and its root file system."""
        return types_pb2.Owner(manager=self.manager, namespace=self.namespace, id=id_)

    def volume_owner(self, name: str) -> types_pb2.Owner:
        """The owner of a volume that goes with no container: its name, which may be longer than an owner's id."""
        return self.owner(name[:_OWNER_ID_MAX])

    def sandbox_owner(self, id_: str) -> types_pb2.Owner:
        """The owner of the sandbox of container ``id_``: its namespace is the one in which its networks have names."""
        return types_pb2.Owner(manager=self.manager, namespace=NAMESPACE, id=id_)

    @cached_property
    def images(self) -> image_pb2_grpc.ImageServiceAsyncStub:
        return image_pb2_grpc.ImageServiceStub(self.imaged.channel)

    @cached_property
    def snapshots(self) -> image_pb2_grpc.SnapshotServiceAsyncStub:
        return image_pb2_grpc.SnapshotServiceStub(self.imaged.channel)

    @cached_property
    def volumes(self) -> image_pb2_grpc.VolumeServiceAsyncStub:
        return image_pb2_grpc.VolumeServiceStub(self.imaged.channel)

    @cached_property
    def networks(self) -> network_pb2_grpc.NetworkServiceAsyncStub:
        return network_pb2_grpc.NetworkServiceStub(self.netd.channel)

    @cached_property
    def containers(self) -> exec_pb2_grpc.ContainerServiceAsyncStub:
        return exec_pb2_grpc.ContainerServiceStub(self.execd.channel)

    def system(self, peer: Peer) -> system_pb2_grpc.SystemServiceAsyncStub:
        return system_pb2_grpc.SystemServiceStub(peer.channel)

    @property
    def peers(self) -> tuple[Peer, ...]:
        return self.imaged, self.netd, self.execd

    async def close(self) -> None:
        for peer in self.peers:
            await peer.close()
