"""A container to be made, while Docker's settings are read into it."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.rest.body import Fields
from gateway.rest.versions import Version
from pier.engine.v1 import engine_pb2
from pier.exec.v1 import exec_pb2
from pier.network.v1 import network_pb2


@dataclass
class Draft:
    """``entrypoint`` and ``command`` are None where the image's count; ``endpoints`` by network name or id; ``mac`` is
    the MAC address on the network of ``network_mode``; ``unbound`` are those of the ``ports`` for which nobody named a
    binding.

    ``host_directories`` are bind sources that are made where they are missing; ``images`` and ``volumes`` are mounted
    beside the spec's own mounts, and so are those of the containers in ``volumes_from`` ("NAME" or "NAME:ro"); where
    nothing else is mounted, ``declared`` targets get a volume each.
    """

    version: Version
    spec: exec_pb2.ContainerSpec = field(default_factory=exec_pb2.ContainerSpec)
    image: str = ""
    entrypoint: list[str] | None = None
    command: list[str] | None = None
    network_mode: str = "bridge"
    network_disabled: bool = False
    mac: str = ""
    endpoints: dict[str, Fields] = field(default_factory=dict)
    ports: list[network_pb2.PublishedPort] = field(default_factory=list)
    unbound: list[str] = field(default_factory=list)
    exposed: list[str] = field(default_factory=list)
    dns: list[str] = field(default_factory=list)
    dns_search: list[str] = field(default_factory=list)
    dns_options: list[str] = field(default_factory=list)
    extra_hosts: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    declared: list[bytes] = field(default_factory=list)
    images: list[engine_pb2.ImageMount] = field(default_factory=list)
    volumes: list[engine_pb2.VolumeMount] = field(default_factory=list)
    volumes_from: list[str] = field(default_factory=list)
    publish_all: bool = False
    host_directories: list[str] = field(default_factory=list)

    def targets(self) -> list[bytes]:
        """Where something is mounted, as often as it is."""
        return [
            *(mount.target for mount in self.spec.mounts), *(volume.target for volume in self.volumes),
            *(image.target for image in self.images),
        ]
