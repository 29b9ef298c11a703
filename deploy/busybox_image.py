#!/usr/bin/python3
"""Make a small image from Debian's busybox-static: no registry, nothing but the standard library.

    busybox_image.py [--name NAME[:TAG]] [--format docker-archive|oci-layout|rootfs] OUTPUT

The same busybox gives the same bytes: entries are sorted, times fixed, owners numeric. ``docker-archive`` and
``rootfs`` write one tar file ("-" is the standard output), ``oci-layout`` a directory.

The parts serve tests, too: ``Entry`` describes a file, ``layer`` makes a tar of entries, ``Image`` puts a configuration
to layers, ``docker_archive`` and ``oci_layout`` write it down (OCI image specification 1.1, Docker's 1.2).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

TIME: Final = 1672531200  # of every file and of the image: 2023-01-01T00:00:00Z, seconds since the epoch
CREATED: Final = "2023-01-01T00:00:00Z"
ARCHITECTURE: Final = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"

_PASSWD: Final = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_GROUP: Final = """\
root:x:0:
daemon:x:1:
bin:x:2:
tty:x:5:
www-data:x:33:
users:x:100:
nogroup:x:65534:
"""
_PT_INTERP: Final = 3


@dataclass(frozen=True)
class Entry:
    """One entry of a layer. ``path`` has no leading slash; the type is that of tarfile (DIRTYPE, SYMTYPE, …)."""

    path: str
    type: bytes = tarfile.REGTYPE
    mode: int = 0o644
    data: bytes = b""
    target: str = ""
    uid: int = 0
    gid: int = 0
    pax: Mapping[str, str] = field(default_factory=dict)


def directory(path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Entry:
    """A directory."""
    return Entry(path, tarfile.DIRTYPE, mode, uid=uid, gid=gid)


def symlink(path: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(path, tarfile.SYMTYPE, 0o777, target=target)


def hard_link(path: str, target: str) -> Entry:
    """A hard link to ``target``, a path from the root of the layer."""
    return Entry(path, tarfile.LNKTYPE, target=target)


def layer(entries: Iterable[Entry]) -> bytes:
    """An uncompressed tar of ``entries`` in the order given, every byte of it determined by them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.path)
            info.type, info.mode, info.linkname = entry.type, entry.mode, entry.target
            info.uid, info.gid, info.mtime, info.size = entry.uid, entry.gid, TIME, len(entry.data)
            info.pax_headers = dict(entry.pax)
            archive.addfile(info, io.BytesIO(entry.data))
    return out.getvalue()


def digest(data: bytes) -> str:
    """``sha256:`` and the hash in hexadecimal digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def dump(document: Mapping[str, Any]) -> bytes:
    """The document as JSON, always the same bytes for the same document."""
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


@dataclass(frozen=True)
class Blob:
    """Bytes that a descriptor points at."""

    media_type: str
    data: bytes

    @property
    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": digest(self.data), "size": len(self.data)}


@dataclass(frozen=True)
class Image:
    """Uncompressed layer tars, lowest first, and what the image configuration's ``config`` says."""

    layers: Sequence[bytes]
    config: Mapping[str, Any] = field(default_factory=lambda: {"Cmd": ["sh"], "Env": [f"PATH={PATH}"]})
    architecture: str = ARCHITECTURE

    @property
    def configuration(self) -> bytes:
        """The image configuration; its digest is Docker's image id."""
        return dump({
            "architecture": self.architecture,
            "config": dict(self.config),
            "created": CREATED,
            "history": [{"created": CREATED, "created_by": f"layer {number}"} for number in range(len(self.layers))],
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest(tar) for tar in self.layers]},
        })

    def blobs(self, compressed: bool = True) -> tuple[Blob, list[Blob], Blob]:
        """Configuration, layers and manifest in OCI's media types."""
        config = Blob(OCI_CONFIG, self.configuration)
        layers = [
            Blob(OCI_LAYER + "+gzip", gzip.compress(tar, 6, mtime=0)) if compressed else Blob(OCI_LAYER, tar)
            for tar in self.layers
        ]
        manifest = dump({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.descriptor,
            "layers": [blob.descriptor for blob in layers],
        })
        return config, layers, Blob(OCI_MANIFEST, manifest)


def docker_archive(images: Mapping[str, Image]) -> bytes:
    """What ``docker save`` writes, for images by reference: the form that ``docker load`` takes since 1.10."""
    files: dict[str, bytes] = {}
    manifest = []
    for reference, image in images.items():
        config = digest(image.configuration).removeprefix("sha256:") + ".json"
        files[config] = image.configuration
        names = []
        for tar in image.layers:
            name = digest(tar).removeprefix("sha256:") + "/layer.tar"
            files[name] = tar
            names.append(name)
        manifest.append({"Config": config, "RepoTags": [reference], "Layers": names})
    files["manifest.json"] = json.dumps(manifest, separators=(",", ":")).encode()
    return layer(Entry(name, data=data) for name, data in sorted(files.items()))


def oci_layout(images: Mapping[str, Image], compressed: bool = True) -> dict[str, bytes]:
    """Relative path → contents of an OCI image layout; each reference is the annotation that names its manifest."""
    files = {"oci-layout": dump({"imageLayoutVersion": "1.0.0"})}
    manifests = []
    for reference, image in images.items():
        config, layers, manifest = image.blobs(compressed)
        for blob in (config, *layers, manifest):
            files["blobs/sha256/" + digest(blob.data).removeprefix("sha256:")] = blob.data
        annotations = {"org.opencontainers.image.ref.name": reference, "io.containerd.image.name": reference}
        manifests.append({**manifest.descriptor, "annotations": annotations})
    files["index.json"] = dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests})
    return files


def write_tree(files: Mapping[str, bytes], into: Path) -> None:
    """Write relative path → contents below ``into``."""
    for name, data in files.items():
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def busybox() -> Path:
    """Debian's static busybox; SystemExit says what to install where there is none."""
    found = shutil.which("busybox", path="/usr/bin:/bin")
    if found is None or not _is_static(Path(found).read_bytes()):
        raise SystemExit("no static busybox here: apt-get install busybox-static")
    return Path(found)


def _is_static(program: bytes) -> bool:
    """Whether a 64-bit little-endian ELF program asks for no interpreter (elf(5))."""
    if program[:6] != b"\x7fELF\x02\x01":
        return False
    (offset,) = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    types = (struct.unpack_from("<I", program, offset + number * size)[0] for number in range(count))
    return _PT_INTERP not in types


def rootfs_entries() -> list[Entry]:
    """A root file system in which busybox is every command, parents before children, sorted."""
    program = busybox()
    listed = subprocess.run([program, "--list-full"], check=True, capture_output=True, text=True).stdout.split()
    entries = {"bin/busybox": Entry("bin/busybox", mode=0o755, data=program.read_bytes())}
    for path in ("bin", "dev", "etc", "home", "proc", "sbin", "sys", "usr/bin", "usr/sbin", "var/log", "var/www"):
        entries[path] = directory(path)
    entries["root"] = directory("root", 0o700)
    entries["tmp"] = directory("tmp", 0o1777)
    entries["var/tmp"] = directory("var/tmp", 0o1777)
    for path, text in (("etc/passwd", _PASSWD), ("etc/group", _GROUP)):
        entries[path] = Entry(path, data=text.encode())
    for path in listed:
        if path != "bin/busybox" and path.count("/"):  # linuxrc stands in the root and is for a real start-up
            entries[path] = symlink(path, "../" * path.count("/") + "bin/busybox")
    for path in list(entries):
        for parent in Path(path).parents:
            if str(parent) != ".":
                entries.setdefault(str(parent), directory(str(parent)))
    return [entries[path] for path in sorted(entries)]


def busybox_image() -> Image:
    """One layer: ``rootfs_entries``."""
    return Image([layer(rootfs_entries())])


def main() -> int:
    parser = argparse.ArgumentParser(description="Make a small image from Debian's busybox-static.")
    parser.add_argument("--name", default="busybox:latest", help="reference of the image (default: %(default)s)")
    parser.add_argument("--format", choices=("docker-archive", "oci-layout", "rootfs"), default="docker-archive")
    parser.add_argument("output", help="file (- is the standard output), or directory for oci-layout")
    options = parser.parse_args()
    name = options.name if ":" in options.name.rpartition("/")[2] else options.name + ":latest"
    image = busybox_image()
    if options.format == "oci-layout":
        write_tree(oci_layout({name: image}), Path(options.output))
        return 0
    data = docker_archive({name: image}) if options.format == "docker-archive" else image.layers[0]
    if options.output == "-":
        sys.stdout.buffer.write(data)
    else:
        Path(options.output).write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
