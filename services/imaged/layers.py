"""Unpacked layers: directories that overlayfs reads, named by chain id, there whole or not at all.

A layer is filled as ``l/tmp-…``, synced by its worker, and renamed: the rename is what makes it exist. Removing renames
it to ``trash/`` first, so that a name never stands for half a layer. All calls block: they belong in a thread pool.

The name is half of the chain id's digits: overlayfs takes all lower directories in one page of options before Linux
6.5, and 128 bits are still out of reach of anyone who searches for two chain ids that share them.
"""

from __future__ import annotations

import errno
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chassis import kernel, trees
from chassis.ids import Digest
from chassis.instance import make_private
from imaged.blobs import sync_directory

_TEMPORARY: Final = "tmp-"
_DIGITS: Final = 32
_ROOT_MODE: Final = 0o755


def name_of(chain_id: Digest) -> str:
    """The directory name of a layer."""
    return chain_id.removeprefix("sha256:")[:_DIGITS]


@dataclass(frozen=True)
class Filling:
    """A layer that is being made: its directory and a descriptor of it."""

    path: Path
    fd: int


class LayerStore:
    """Layers below ``root``, which belongs to this store alone."""

    def __init__(self, root: Path) -> None:
        self._layers = root / "l"
        self._trash = root / "trash"
        for directory in (root, self._layers, self._trash):
            make_private(directory)

    def path(self, chain_id: Digest) -> Path:
        """Where the layer is, or would be."""
        return self._layers / name_of(chain_id)

    def has(self, chain_id: Digest) -> bool:
        return self.path(chain_id).is_dir()

    def begin(self) -> Filling:
        """A new empty directory to fill; ``publish`` or ``discard`` ends it."""
        path = self._layers / (_TEMPORARY + secrets.token_hex(8))
        path.mkdir()
        path.chmod(_ROOT_MODE)
        return Filling(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW))

    def publish(self, filling: Filling, chain_id: Digest) -> None:
        """Give a filled and synced directory its name. Where the layer is there already, that one stays."""
        os.close(filling.fd)
        here = os.open(self._layers, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            kernel.renameat2(
                here, os.fsencode(filling.path.name), here, os.fsencode(name_of(chain_id)), kernel.RENAME_NOREPLACE
            )
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise
            self._remove(filling.path)
        finally:
            os.close(here)
        sync_directory(self._layers)

    def adopt(self, directory: Path, chain_id: Digest) -> None:
        """Make a synced directory of this file system the layer; what was done already is left as it is. Where the
        layer is there from elsewhere, that one stays and so does the directory."""
        if not self.has(chain_id):
            os.rename(directory, self.path(chain_id))
            sync_directory(directory.parent)
            sync_directory(self._layers)

    def discard(self, filling: Filling) -> None:
        """Throw away what was begun."""
        os.close(filling.fd)
        self._remove(filling.path)

    def remove(self, chain_id: Digest) -> None:
        """Take the layer away; nothing where it is not there. No mount may use it."""
        self._remove(self.path(chain_id))

    def _remove(self, path: Path) -> None:
        self.bin(path)
        self.empty_trash()

    def bin(self, path: Path) -> None:
        """Move a directory of this file system out of the way, for ``empty_trash`` to delete."""
        try:
            os.rename(path, self._trash / secrets.token_hex(8))
        except FileNotFoundError:
            return
        sync_directory(path.parent)

    def empty_trash(self) -> None:
        """Delete what was thrown away. A name that somebody else deletes at the same time is passed over."""
        here = os.open(self._trash, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in os.listdir(here):
                try:
                    trees.remove_tree(here, os.fsencode(name))
                except FileNotFoundError:
                    continue
        finally:
            os.close(here)

    def names(self) -> set[str]:
        """The names of the whole layers that are there."""
        return {name for name in os.listdir(self._layers) if not name.startswith(_TEMPORARY)}

    def remove_named(self, name: str) -> None:
        """Take away a layer by its directory's name."""
        self._remove(self._layers / name)

    def recover(self) -> int:
        """Delete what a crash left half filled; how many there were. Nothing may be filling."""
        left = [name for name in os.listdir(self._layers) if name.startswith(_TEMPORARY)]
        for name in left:
            self.bin(self._layers / name)
        self.empty_trash()
        return len(left)

    def usage(self, chain_id: Digest) -> trees.Usage:
        """What the layer occupies on disk."""
        here = os.open(self._layers, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return trees.usage(here, os.fsencode(name_of(chain_id)))
        finally:
            os.close(here)

    def content(self, chain_id: Digest) -> int:
        """Sum of its files' sizes, as ``LayerRow.size`` has it. FileNotFoundError where the layer is not there."""
        here = os.open(self._layers, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return trees.content(here, os.fsencode(name_of(chain_id)))
        finally:
            os.close(here)
