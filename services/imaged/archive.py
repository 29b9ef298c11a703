"""Image archives as they are loaded: a docker-archive (``docker save``) or an OCI image layout, as one tar.

Every file of the archive is stored as a blob while the archive streams in; its name is a key of a table and never a
path. What the archive's own tables (manifest.json, index.json) then say about names is looked up there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

from chassis.compression import Caps, Decompressor
from chassis.errors import InvalidArgument, NotFound, PierError
from chassis.ids import Digest, new_id
from chassis.ids import digest as check_digest
from chassis.tar import Kind, Limits, Reader, bad_archive, clean_name
from imaged import manifest, platform, reference
from imaged.blobs import BlobStore
from imaged.reference import Reference

_ENTRIES: Final = 100_000
_LINKS: Final = 8
_IMAGES: Final = 1000
# Of docker-archive's first version: read by nobody since.
_PASSED_OVER: Final = frozenset({b"VERSION", b"json", b"repositories", b"oci-layout"})
_HEAD: Final = 512
_USTAR: Final = 257
"""Where a tar's header says that it is one (POSIX.1-2001, pax, "ustar Interchange Format")."""
_PACKED: Final = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
_COMPRESSED: Final = {"gzip": "+gzip", "zstd": "+zstd", "none": ""}

T = TypeVar("T")


class _Saved(msgspec.Struct, rename="pascal"):
    """One image of manifest.json."""

    config: str
    layers: list[str]
    repo_tags: list[str] | None = None


class _Layout(msgspec.Struct):
    manifests: list[manifest.Descriptor]


@dataclass
class Contents:
    """What an archive brought: name → blob, links between names, and which blobs were not here before."""

    files: dict[bytes, Digest] = field(default_factory=dict)
    links: dict[bytes, bytes] = field(default_factory=dict)
    new: set[Digest] = field(default_factory=set)

    def find(self, name: str) -> Digest:
        """The blob of the file called ``name``, through at most a few links."""
        key = clean_name(name.encode())
        for _ in range(_LINKS):
            if key in self.files:
                return self.files[key]
            if key not in self.links:
                break
            key = self.links[key]
        raise InvalidArgument(f"archive: it has no file {name[:200]!r}", reason="BAD_ARCHIVE")

    def has(self, name: str) -> bool:
        return name.encode() in self.files


@dataclass(frozen=True)
class LoadedImage:
    """One image of an archive, its blobs in the store. ``references`` are what it is to be called."""

    config_digest: Digest
    config: manifest.ImageConfig
    descriptor: manifest.Descriptor
    layers: list[manifest.Descriptor]
    references: list[Reference]
    documents: list[Digest]


def store(blobs: BlobStore, chunks: Iterable[bytes], caps: Caps, layer: Callable[[Digest], None]) -> Contents:
    """Read an archive (plain or compressed) and store its files. Blocks; cut short, it leaves blobs for the sweep.

    ``layer`` is told of each that was not here and looks as a layer does, as soon as it is stored.
    """
    contents = Contents()
    reader = Reader(iter(Decompressor(chunks, caps, every_kind=True, hashed=False)), Limits(entries=_ENTRIES))
    for entry in reader:
        name = clean_name(entry.name)
        if entry.kind in (Kind.SYMLINK, Kind.LINK):
            parent = name.rpartition(b"/")[0] if entry.kind is Kind.SYMLINK else b""
            contents.links[name] = clean_name(parent + b"/" + entry.link)
        elif entry.kind is Kind.FILE and name.rpartition(b"/")[2] not in _PASSED_OVER:
            contents.files[name] = _store_file(blobs, reader, contents, layer)
    reader.drain()
    return contents


def _store_file(blobs: BlobStore, reader: Reader, contents: Contents, layer: Callable[[Digest], None]) -> Digest:
    ingest = blobs.ingest(f"load-{new_id()}")
    head = b""
    try:
        end = 0
        for offset, part in reader.data():
            if offset != end:
                raise bad_archive("a sparse file in an image archive")
            if len(head) < _HEAD:
                head += bytes(part[: _HEAD - len(head)])
            ingest.write(part)
            end += len(part)
    except BaseException:
        ingest.abort()
        raise
    if blobs.has(ingest.digest):
        digest = ingest.digest
        ingest.abort()
        return digest
    digest = ingest.commit()
    contents.new.add(digest)
    if head.startswith(_PACKED) or head[_USTAR:].startswith(b"ustar"):
        layer(digest)
    return digest


def read(blobs: BlobStore, contents: Contents) -> list[LoadedImage]:
    """The images of an archive. InvalidArgument where it is not one, or is not whole.

    One that is both kinds is read as a layout, which keeps manifests as they were, and for the names as both.
    """
    is_docker, is_layout = contents.has("manifest.json"), contents.has("index.json")
    if not (is_docker or is_layout):
        raise InvalidArgument(
            "archive: it has neither manifest.json nor index.json: no image archive", reason="BAD_ARCHIVE")
    loaded: list[LoadedImage] = []
    if is_layout:
        try:
            layout = _decode(blobs, contents.find("index.json"), _Layout)
            loaded = [_oci(blobs, contents, one) for one in layout.manifests[:_IMAGES]]
        except InvalidArgument:
            if not is_docker:
                raise
            loaded = []
    if is_docker:
        by_config = {image.config_digest: image for image in loaded}
        for one in _decode(blobs, contents.find("manifest.json"), list[_Saved])[:_IMAGES]:
            image = by_config.get(contents.find(one.config))
            if image is None:
                loaded.append(_docker(blobs, contents, one))
                continue
            image.references.extend(name for name in _tags(one) if name not in image.references)
    return loaded


def _decode(blobs: BlobStore, digest: Digest, kind: type[T]) -> T:
    raw = blobs.read(digest, manifest.MANIFEST_MAX)
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"archive: {error}", reason="BAD_ARCHIVE") from error


def _docker(blobs: BlobStore, contents: Contents, saved: _Saved) -> LoadedImage:
    """docker-archive keeps no manifest: one is written, the same each time for the same blobs."""
    config_digest = contents.find(saved.config)
    config = manifest.parse_config(blobs.read(config_digest, manifest.CONFIG_MAX), len(saved.layers))
    layers = [layer_descriptor(blobs, contents.find(name)) for name in saved.layers]
    references = _tags(saved)
    descriptor = write_manifest(blobs, config_digest, layers)
    contents.new.add(descriptor.checked)
    return LoadedImage(config_digest, config, descriptor, layers, references, [descriptor.checked])


def _tags(saved: _Saved) -> list[Reference]:
    return [reference.parse(tag).with_default_tag() for tag in saved.repo_tags or []]


def layer_descriptor(blobs: BlobStore, digest: Digest) -> manifest.Descriptor:
    """A layer blob's descriptor; its first bytes tell its compression."""
    with open(blobs.path(digest), "rb") as file:
        probe = Decompressor([file.read(1 << 16)])
        try:
            next(iter(probe), b"")
        except InvalidArgument:
            pass  # only its beginning is here; unpacking tells
        size = file.seek(0, 2)
    return manifest.Descriptor(manifest.OCI_LAYER + _COMPRESSED.get(probe.name, ""), digest, size)


def write_manifest(blobs: BlobStore, config: Digest, layers: list[manifest.Descriptor]) -> manifest.Descriptor:
    """Store an OCI manifest of a config and its layers."""
    raw = manifest_of(config, blobs.size(config), layers)
    return manifest.Descriptor(manifest.OCI_MANIFEST, blobs.put(raw), len(raw))


def manifest_of(config: Digest, size: int, layers: Sequence[manifest.Descriptor]) -> bytes:
    """The OCI manifest of a config of ``size`` bytes and its layers: always the same bytes for the same blobs."""
    return msgspec.json.encode({
        "schemaVersion": 2, "mediaType": manifest.OCI_MANIFEST,
        "config": {"mediaType": manifest.OCI_CONFIG, "digest": config, "size": size},
        "layers": [{"mediaType": one.media_type, "digest": one.digest, "size": one.size} for one in layers],
    })


def _oci(blobs: BlobStore, contents: Contents, descriptor: manifest.Descriptor) -> LoadedImage:
    known = set(contents.files.values())

    def fetch(wanted: manifest.Descriptor, limit: int) -> bytes:
        if wanted.checked not in known:
            raise InvalidArgument(f"archive: it lacks the blob {wanted.digest}", reason="BAD_ARCHIVE")
        return blobs.read(check_digest(wanted.digest), limit)

    documents = [descriptor.checked]
    found = manifest.parse(fetch(descriptor, manifest.MANIFEST_MAX), descriptor.media_type)
    chosen = descriptor
    if isinstance(found, manifest.Index):
        try:
            chosen = manifest.select(found, platform.host())
        except NotFound as error:
            raise InvalidArgument(f"archive: {error.message}", reason="NO_PLATFORM") from error
        documents.append(chosen.checked)
        found = manifest.parse(fetch(chosen, manifest.MANIFEST_MAX), chosen.media_type)
    if not isinstance(found, manifest.Manifest):
        raise InvalidArgument("archive: an index in an index", reason="BAD_MANIFEST")
    config = manifest.parse_config(fetch(found.config, manifest.CONFIG_MAX), len(found.layers))
    for layer in found.layers:
        if layer.checked not in known:
            raise InvalidArgument(f"archive: it lacks the blob {layer.digest}", reason="BAD_ARCHIVE")
    return LoadedImage(
        found.config.checked, config, chosen, found.layers, _names(descriptor.annotations or {}), documents)


def _names(annotations: dict[str, str]) -> list[Reference]:
    """containerd's full name, else the specification's, which may be a mere tag: then there is no name."""
    for key in ("io.containerd.image.name", "org.opencontainers.image.ref.name"):
        text = annotations.get(key, "")
        if "/" in text or ":" in text:
            try:
                return [reference.parse(text).with_default_tag()]
            except PierError:
                continue
    return []
