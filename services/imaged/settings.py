"""imaged's settings."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.config import Settings, option


@dataclass(frozen=True)
class ImagedSettings(Settings):
    """Sizes in bytes, times in seconds."""

    snapshotter: str = option("overlayfs", "how root file systems are kept; overlayfs is the one that there is")
    unpack_workers: int = option(3, "how many layers are unpacked at once")
    downloads: int = option(3, "how many blobs are downloaded at once", live=True)
    layer_max_bytes: int = option(1 << 40, "the largest unpacked layer")
    layer_max_entries: int = option(5_000_000, "the most entries of a layer")
    layer_max_ratio: int = option(500, "how many times its compressed size a layer beyond 1 GiB may be")
    disk_reserve_bytes: int = option(64 << 20, "what stays free on the disk whatever is unpacked")
    insecure_registries: str = option(
        "", "hosts (with port) spoken to by plain HTTP besides loopback, comma-separated", live=True)
    registry_certificates: str = option(
        "/etc/docker/certs.d", "directory of HOST[:PORT]/ca.crt, client.cert and client.key (any *.crt, *.cert, *.key)",
        live=True)
    registry_hosts: str = option(
        "/etc/pier/registries.d", "directory of HOST[:PORT]/hosts.toml: a registry's mirrors, rewrites, certificates",
        live=True)
    push_chunk_bytes: int = option(0, "how much of a blob one request of a push carries, 0 for all of it", live=True)
    registry_timeout: float = option(
        30.0, "seconds for a registry to accept a connection, and between its bytes", live=True)
    gc_interval: float = option(3600.0, "seconds between sweeps of what nothing refers to")
    gc_grace: float = option(
        3600.0, "how old an unreferenced blob or unfinished download must be to be swept", live=True)
    fsck_rate: int = option(256 << 20, "bytes of blobs that fsck reads in a second at most, 0 for no limit", live=True)
