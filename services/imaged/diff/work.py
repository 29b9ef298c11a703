"""The program's work: mount, lock itself in, read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any, Final

from chassis import jail, kernel, program, trees
from chassis.overlay import Overlay, attach
from chassis.tar.pack import Packer
from imaged.diff.changes import DELETED, Change, Trees, changes
from imaged.diff.settle import Settler

WHITEOUT: Final = b".wh."
_MEMORY: Final = 1 << 30
_ATTRIBUTES: Final = kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NODEV | kernel.MOUNT_ATTR_NOSUID


def work(request: dict[str, Any]) -> None:
    """One verb, to standard output."""
    found = _trees(request)
    jail.confine(jail.OF_FILES, memory=_MEMORY)
    if request["verb"] == "export":
        _export(found)
        return
    mount_points = frozenset(os.fsencode(path).strip(b"/") for path in request["mount_points"])
    match request["verb"]:
        case "changes":
            _changes(changes(found, mount_points))
        case "settle":
            _settle(found, mount_points, request["clamp_ns"])
        case _:
            packer = Packer(program.write)
            _layer(found, changes(found, mount_points), packer)


def _trees(request: dict[str, Any]) -> Trees:
    """``lowers``: the upmost first, none, or two at least, so that an overlay can be made of them; ``empty`` is a
    directory with nothing in it, ``place`` one to mount at; ``upper`` is "" where there is none."""
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount(None, b"/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    upper, place = str(request["upper"]), str(request["place"])
    lowers, options = list(request["lowers"]), list(request["options"])
    base = -1
    if not lowers:
        base = os.open(request["empty"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if not upper:
        merged = _mounted(lowers, options, place) if lowers else base
        return Trees(merged, merged, merged)
    outer = os.open(os.path.dirname(upper), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if not lowers:
        return Trees(outer, base, _mounted([upper, str(request["empty"])], options, place))
    return Trees(outer, _mounted(lowers, options, place), _mounted([upper, *lowers], options, place))


def _mounted(lowers: list[str], options: list[str], place: str) -> int:
    """A descriptor of the root of an overlay that is mounted for it alone."""
    target = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    attach(Overlay("overlay", lowers, options, _ATTRIBUTES), target)
    os.close(target)
    root = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    kernel.umount(os.fsencode(place), kernel.MNT_DETACH)
    return root


def _changes(found: Iterable[Change]) -> None:
    lines = []
    for change in found:
        lines.append(json.dumps([change.kind, os.fsdecode(change.path)]) + "\n")
        if len(lines) >= 1000:
            program.write("".join(lines).encode())
            lines.clear()
    program.write("".join(lines).encode())


def _layer(
    trees_: Trees, found: Iterable[Change], packer: Packer,
    written: Callable[[Change, bool], object] | None = None,
) -> None:
    """``written`` is told of each change afterwards, and whether it is in the tar."""
    for change in found:
        directory, _, name = change.path.rpartition(b"/")
        # A layer cannot hold such a name: there it means that something is no more.
        fits = b"/" + WHITEOUT not in b"/" + change.path
        if not fits:
            pass
        elif change.kind == DELETED:
            packer.mark((directory + b"/" if directory else b"") + WHITEOUT + name)
        elif change.status is not None:
            packer.add(trees_.upper, b"upper/" + change.path, change.path, change.status)
        if written is not None:
            written(change, fits)
    packer.close()


def _settle(trees_: Trees, mount_points: frozenset[bytes], clamp_ns: int | None) -> None:
    settler, packer = Settler(trees_.upper, clamp_ns), Packer(program.write, latest_ns=clamp_ns)
    _layer(trees_, changes(trees_, mount_points, settler.passed), packer, settler.written)
    settler.finish()
    kernel.syncfs(trees_.upper)
    program.tell({"size": packer.size, "changes": settler.changes})


def _export(found: Trees) -> None:
    packer = Packer(program.write)
    for path, status in trees.walk(found.merged, b"."):
        if path:
            packer.add(found.merged, path, path, status)
    packer.close()
