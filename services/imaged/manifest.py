"""Manifests, indexes and image configurations: OCI image-spec 1.1 and Docker image manifest version 2, schema 2.

Documents are read, never written back: a blob's bytes are what its digest says, so they are kept as they came. One
that could be read both as a manifest and as an index is refused (CVE-2021-41190), as is one whose own media type
differs from the one that it was served or described with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from chassis.errors import InvalidArgument, NotFound, Unimplemented
from chassis.ids import Digest
from chassis.ids import digest as check_digest
from imaged import platform

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
MANIFESTS: Final = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES: Final = (OCI_INDEX, DOCKER_INDEX)
ACCEPT: Final = ", ".join((*MANIFESTS, *INDEXES))
_SCHEMA_1: Final = (
    "application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
_CONFIGS: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})
_LAYERS: Final = frozenset({
    OCI_LAYER, OCI_LAYER + "+gzip", OCI_LAYER + "+zstd", DOCKER_LAYER,
    "application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.diff.tar.zstd",
})
MANIFEST_MAX: Final = 4 << 20
"""The longest manifest or index, in bytes (distribution's own limit is the same)."""
CONFIG_MAX: Final = 8 << 20
_LAYERS_MAX: Final = 500
_INDEX_MAX: Final = 4096
_SIZE_MAX: Final = 1 << 43


class PlatformField(msgspec.Struct, frozen=True):
    """``platform`` of a descriptor."""

    architecture: str = ""
    os: str = ""
    variant: str = ""

    def normal(self) -> platform.Platform:
        return platform.normal(self.os, self.architecture, self.variant)


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """What points at a blob: media type, digest, size in bytes (OCI image-spec, descriptor.md)."""

    media_type: str
    digest: str
    size: int
    urls: list[str] | None = None
    annotations: dict[str, str] | None = None
    platform: PlatformField | None = None

    @property
    def checked(self) -> Digest:
        return check_digest(self.digest)


class _Shape(msgspec.Struct, rename="camel"):
    """Every top-level member that decides what a document is."""

    schema_version: int = 0
    media_type: str = ""
    config: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    layers: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    manifests: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    fs_layers: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    history: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    artifact_type: str = ""


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """One image for one platform."""

    config: Descriptor
    layers: list[Descriptor]


class Index(msgspec.Struct, frozen=True, rename="camel"):
    """The same image for several platforms."""

    manifests: list[Descriptor]


class RootFs(msgspec.Struct, frozen=True):
    """The diff ids of the layers, bottom first."""

    type: str = ""
    diff_ids: list[str] = []


class HealthCheck(msgspec.Struct, frozen=True, rename="pascal"):
    """HEALTHCHECK; durations in nanoseconds."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class RunConfig(msgspec.Struct, frozen=True, rename="pascal"):
    """``config`` of an image: what a container gets unless it asks for something else."""

    user: str = ""
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    working_dir: str = ""
    labels: dict[str, str] | None = None
    exposed_ports: dict[str, object] | None = None
    volumes: dict[str, object] | None = None
    stop_signal: str = ""
    stop_timeout: int | None = None
    shell: list[str] | None = None
    on_build: list[str] | None = None
    args_escaped: bool = False
    healthcheck: HealthCheck | None = None


class History(msgspec.Struct, frozen=True):
    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig(msgspec.Struct, frozen=True):
    """The image configuration that a manifest names (OCI image-spec, config.md)."""

    architecture: str = ""
    os: str = ""
    variant: str = ""
    created: str | None = None
    author: str = ""
    config: RunConfig | None = None
    rootfs: RootFs = RootFs()
    history: list[History] | None = None

    @property
    def diff_ids(self) -> list[Digest]:
        return [check_digest(diff_id, "rootfs.diff_ids") for diff_id in self.rootfs.diff_ids]

    @property
    def platform(self) -> platform.Platform:
        return platform.normal(self.os or "linux", self.architecture, self.variant)


T = TypeVar("T")


def _bad(message: str) -> InvalidArgument:
    return InvalidArgument(message, reason="BAD_MANIFEST")


def _decode(raw: bytes, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _bad(f"{what}: {error}") from error


def parse(raw: bytes, media_type: str = "") -> Manifest | Index:
    """The document in ``raw``, which was served or described as ``media_type`` ("" where nobody said).

    InvalidArgument (BAD_MANIFEST) for one that is malformed, ambiguous, or other than announced; Unimplemented for
    schema 1 and for layers that are not images' (artifacts, foreign layers).
    """
    if len(raw) > MANIFEST_MAX:
        raise _bad(f"manifest: {len(raw)} bytes are more than {MANIFEST_MAX}")
    shape = _decode(raw, _Shape, "manifest")
    media_type = media_type.partition(";")[0].strip()
    if shape.schema_version == 1 or media_type in _SCHEMA_1 or shape.media_type in _SCHEMA_1:
        raise Unimplemented("manifest: Docker image manifest version 2, schema 1 is not supported", reason="SCHEMA_1")
    unset = msgspec.UNSET
    is_index = shape.manifests is not unset
    is_manifest = shape.config is not unset or shape.layers is not unset
    if shape.schema_version != 2 or shape.fs_layers is not unset or is_index == is_manifest:
        raise _bad("manifest: it is neither clearly a manifest nor clearly an index of schema version 2")
    _check_media_type(shape.media_type, media_type, INDEXES if is_index else MANIFESTS)
    return _index(raw) if is_index else _manifest(raw)


def _check_media_type(own: str, told: str, allowed: Sequence[str]) -> None:
    if told in ("application/json", "application/octet-stream", "text/plain"):
        told = ""
    if own and told and own != told:
        raise _bad(f"manifest: its media type is {own!r}, it was announced as {told!r}")
    if (own or told) and (own or told) not in allowed:
        raise _bad(f"manifest: the media type {own or told!r} does not fit its content")


def _index(raw: bytes) -> Index:
    index = _decode(raw, Index, "index")
    if len(index.manifests) > _INDEX_MAX:
        raise _bad(f"index: {len(index.manifests)} manifests are too many")
    for descriptor in index.manifests:
        _check_descriptor(descriptor, MANIFEST_MAX)
    return index


def _manifest(raw: bytes) -> Manifest:
    manifest = _decode(raw, Manifest, "manifest")
    _check_descriptor(manifest.config, CONFIG_MAX)
    if manifest.config.media_type not in _CONFIGS:
        raise Unimplemented(
            f"manifest: {manifest.config.media_type!r} is not an image's configuration", reason="NOT_AN_IMAGE"
        )
    if len(manifest.layers) > _LAYERS_MAX:
        raise _bad(f"manifest: {len(manifest.layers)} layers are too many")
    for layer in manifest.layers:
        _check_descriptor(layer, _SIZE_MAX)
        if layer.urls or layer.media_type not in _LAYERS:
            raise Unimplemented(f"manifest: a layer of type {layer.media_type!r} is not supported", reason="LAYER_TYPE")
    return manifest


def _check_descriptor(descriptor: Descriptor, size_max: int) -> None:
    check_digest(descriptor.digest)
    if not 0 <= descriptor.size <= size_max:
        raise _bad(f"manifest: a size of {descriptor.size} bytes is out of range")


def parse_config(raw: bytes, layers: int | None = None) -> ImageConfig:
    """The image configuration in ``raw``; it must have as many diff ids as the manifest has ``layers``."""
    if len(raw) > CONFIG_MAX:
        raise _bad(f"config: {len(raw)} bytes are more than {CONFIG_MAX}")
    config = _decode(raw, ImageConfig, "config")
    if config.rootfs.type not in ("layers", ""):
        raise _bad(f"config: rootfs of type {config.rootfs.type!r}")
    if layers is not None and len(config.diff_ids) != layers:
        raise _bad(f"config: {len(config.diff_ids)} diff ids for {layers} layers")
    return config


def select(index: Index, wanted: platform.Platform) -> Descriptor:
    """The manifest of ``index`` that suits ``wanted`` best; the first among equals. NotFound where none does."""
    best: tuple[int, Descriptor] | None = None
    offered: list[str] = []
    for descriptor in index.manifests:
        if descriptor.media_type not in MANIFESTS:
            continue
        if descriptor.platform is None:
            found: int | None = 100  # an index of one unlabelled manifest, as `docker save` writes: take it last
        else:
            offered.append(str(descriptor.platform.normal()))
            found = platform.rank(wanted, descriptor.platform.normal())
        if found is not None and (best is None or found < best[0]):
            best = (found, descriptor)
    if best is None:
        raise NotFound(
            f"no matching manifest for {wanted} in the manifest list entries", reason="NO_PLATFORM",
            expected=", ".join(sorted(set(offered))[:16]),
        )
    return best[1]


def chain_ids(diff_ids: Sequence[Digest]) -> list[Digest]:
    """The chain id of each layer upon those below it (OCI image-spec, config.md, "Layer ChainID")."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        text = f"{chain[-1]} {diff_id}".encode() if chain else b""
        chain.append(check_digest("sha256:" + hashlib.sha256(text).hexdigest()) if chain else diff_id)
    return chain
