"""What an image is, read from `docker save`: its config, its history, and the file tree that its layers make."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import posixpath
import tarfile
from dataclasses import dataclass
from typing import Any, Final

from tests.e2e.builds.corpus.context import TIME

_KEYS: Final = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "Healthcheck",
    "OnBuild", "Shell",
)
_KINDS: Final = {tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "link", tarfile.FIFOTYPE: "pipe"}
_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_OLD: Final = TIME + 1


@dataclass(frozen=True)
class File:
    """``content``: a digest, or where a link points. ``time``: seconds, None where it is that of the build."""

    kind: str
    mode: str
    owner: tuple[int, int]
    content: str
    time: int | None


@dataclass(frozen=True)
class Step:
    created_by: str
    has_layer: bool


@dataclass(frozen=True)
class Image:
    config: dict[str, Any]
    author: str
    history: tuple[Step, ...]
    files: dict[str, File]


def images(archive: bytes) -> dict[str, Image]:
    """Reference to image, of all that a `docker save` holds."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = {member.name: member for member in tar}

        def read(name: str) -> bytes:
            member = members[name]
            while member.issym():  # dockerd writes a layer that stands twice as a link
                member = members[posixpath.normpath(posixpath.join(posixpath.dirname(member.name), member.linkname))]
            file = tar.extractfile(member)
            assert file is not None
            return file.read()

        layers = dict[str, dict[str, File | None]]()
        found = {}
        for entry in json.loads(read("manifest.json")):
            for name in entry["Layers"]:
                if name not in layers:
                    layers[name] = _layer(read(name))
            image = _image(json.loads(read(entry["Config"])), [layers[name] for name in entry["Layers"]])
            found.update(dict.fromkeys(entry["RepoTags"] or (), image))
    return found


def _image(document: dict[str, Any], layers: list[dict[str, File | None]]) -> Image:
    files = dict[str, File]()
    for layer in layers:
        for path, file in layer.items():
            if path.endswith(f"/{_OPAQUE}"):
                _remove(files, posixpath.dirname(path), itself=False)
            elif file is None:
                _remove(files, path, itself=True)
        for path, file in layer.items():
            if file is not None:
                if file.kind != "directory":
                    _remove(files, path, itself=True)
                files[path] = file
    config = {key: document["config"].get(key) for key in _KEYS if document["config"].get(key)}
    history = tuple(Step(entry.get("created_by", ""), not entry.get("empty_layer")) for entry in document["history"])
    return Image(config, document.get("author", ""), history, files)


def _remove(files: dict[str, File], path: str, *, itself: bool) -> None:
    for other in [name for name in files if name.startswith(f"{path}/") or (itself and name == path)]:
        del files[other]


def _layer(data: bytes) -> dict[str, File | None]:
    """Path to file; None for one that is taken away."""
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    found, contents = dict[str, File | None](), dict[str, str]()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            path = "/" + member.name.removeprefix("./").strip("/")
            directory, name = posixpath.split(path)
            if name.startswith(_WHITEOUT):
                found[path if name == _OPAQUE else posixpath.join(directory, name.removeprefix(_WHITEOUT))] = None
                continue
            if member.isfile():
                file = tar.extractfile(member)
                assert file is not None
                contents[path] = hashlib.sha256(file.read()).hexdigest()
            elif member.islnk():
                contents[path] = contents["/" + member.linkname.removeprefix("./").strip("/")]
            found[path] = File(
                _KINDS.get(member.type, "file"), f"{member.mode & 0o7777:04o}", (member.uid, member.gid),
                member.linkname if member.issym() else contents.get(path, ""),
                int(member.mtime) if member.mtime <= _OLD else None,
            )
    found.pop("/", None)
    return found
