"""The program's work: mount, lock itself in, do one verb."""

from __future__ import annotations

import json
import os
from typing import Any, Final

from chassis import jail, kernel, modes, program
from chassis.compression import Caps
from chassis.ignore import Matcher
from chassis.overlay import Overlay, attach
from chassis.tar import Limits
from imaged.files import owners
from imaged.files.archives import Archives
from imaged.files.clone import clone
from imaged.files.content import Space
from imaged.files.copying import Copier, Rules
from imaged.files.digest import Digester
from imaged.files.merge import Merger
from imaged.files.roots import Root
from imaged.files.selection import Selection

NEW: Final = ".new"
_MEMORY: Final = 1 << 30
_SAFE: Final = kernel.MOUNT_ATTR_NODEV | kernel.MOUNT_ATTR_NOSUID


def work(request: dict[str, Any]) -> None:
    """One verb; its result, JSON, to standard output."""
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount(None, b"/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    if request["verb"] == "merge":
        _merge(request)
        program.write(b"{}")
        return
    source = Root(_source(request)) if request["source"] is not None else None
    target = Root(_target(request)) if request["target"] is not None else None
    jail.confine(jail.OF_FILES, memory=_MEMORY)
    result: dict[str, object]
    match request["verb"], source, target:
        case "hash", Root(), _:
            result = _hash(request, source)
        case "copy", Root(), Root():
            result = _copy(request, source, target)
        case "mkdir", _, Root():
            copier = Copier(target, target, Rules(owner=owners.resolve(target, request["chown"])), Space(target.fd, 0))
            result = {"made": copier.make_directory(target.resolve(os.fsencode(request["path"])))}
        case verb, _, _:
            raise ValueError(f"{verb}: no such verb")
    program.write(json.dumps(result).encode())


def _merge(request: dict[str, Any]) -> None:
    """``layer`` is the unpacked layer's directory."""
    layer = Root(os.open(request["layer"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    layers = request["target"]["layers"]
    below = Root(_mounted_layers(request, layers)) if layers else None
    upper = Root(_cloned(request))
    jail.confine((*jail.OF_FILES, kernel.CAP_SYS_ADMIN), memory=_MEMORY)  # trusted.overlay.opaque
    Merger(layer, upper, below).run(hides_all=request["hides_all"])


def _source(request: dict[str, Any]) -> int:
    """``layers``: the upmost first, an upper directory among them."""
    return _mounted_layers(request, request["source"]["layers"])


def _mounted_layers(request: dict[str, Any], layers: list[str]) -> int:
    if not layers:
        return os.open(request["empty"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if len(layers) == 1:
        layers = [*layers, request["empty"]]
    return _mounted(request, Overlay("overlay", layers, list(request["options"]), _SAFE | kernel.MOUNT_ATTR_RDONLY))


def _target(request: dict[str, Any]) -> int:
    """``home`` has the snapshot's ``upper``, and empty ``upper.new`` and ``work.new``."""
    home = str(request["target"]["home"])
    os.close(_cloned(request))
    # Nothing of it is worth a sync when it is unmounted: what is kept is synced by its commit.
    options = [*request["options"], f"upperdir={home}/upper{NEW}", f"workdir={home}/work{NEW}", "volatile"]
    layers = list(request["target"]["layers"]) or [request["empty"]]
    return _mounted(request, Overlay("overlay", layers, options, _SAFE))


def _cloned(request: dict[str, Any]) -> int:
    """``upper.new`` with all that ``upper`` has."""
    here = os.open(request["target"]["home"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        new = b"upper" + NEW.encode()
        clone(here, b"upper", new)
        return os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=here)
    finally:
        os.close(here)


def _mounted(request: dict[str, Any], overlay: Overlay) -> int:
    """A descriptor of the root of an overlay that is mounted for it alone, at the directory ``place``."""
    place = str(request["place"])
    at = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    attach(overlay, at)
    os.close(at)
    root = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    kernel.umount(os.fsencode(place), kernel.MNT_DETACH)
    return root


def _selection(request: dict[str, Any], root: Root) -> Selection:
    files = request["files"]
    return Selection(
        root, [os.fsencode(source) for source in files["sources"]],
        Matcher([os.fsencode(pattern) for pattern in files["exclude"]], "files.exclude"),
        Matcher([os.fsencode(pattern) for pattern in files["ignore"]], "files.ignore"),
        literal=files["literal"], parents=request["parents"])


def _hash(request: dict[str, Any], root: Root) -> dict[str, object]:
    selection = _selection(request, root)
    found = selection.find()
    digest = Digester(root).of(selection, found, parents=request["parents"])
    return {"digest": digest, "found": sorted("/" + os.fsdecode(one.path) for one in found)}


def _copy(request: dict[str, Any], source: Root, target: Root) -> dict[str, object]:
    owner = None if request["keep_owners"] else owners.resolve(target, request["chown"])
    rules = Rules(owner, modes.parse(request["chmod"]) if request["chmod"] else None, request["link"])
    reserve = int(request["reserve"])
    archives = Archives(target.fd, Caps(*request["caps"]), Limits(*request["limits"]), reserve)

    def unpack(fd: int, place: bytes) -> bool:
        if not archives.is_archive(fd):
            return False
        copier.make_directory(place)
        archives.unpack(fd, place)
        return True

    copier = Copier(source, target, rules, Space(target.fd, reserve), unpack if request["unpack"] else None)
    selection = _selection(request, source)
    copied = copier.run(selection, selection.find(), os.fsencode(request["path"]), parents=request["parents"])
    return {"files": copied.files + archives.entries, "bytes": copied.bytes + archives.bytes}
