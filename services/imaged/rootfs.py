"""The directories of snapshots: ``s/KEY/upper`` and ``s/KEY/work`` beside the layers, on one file system; while files
are changed in one that nothing has mounted, ``upper.new`` and ``work.new`` too."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chassis import kernel, trees
from chassis.instance import make_private
from imaged.layers import LayerStore
from pier.types.v1 import types_pb2

_ROOT_MODE: Final = 0o755
# What lower layers say about redirects, metacopies or indexes is an attacker's word.
_OPTIONS: Final = (("redirect_dir", b"nofollow"), ("metacopy", b"off"), ("index", b"off"))


class OverlayRootfs:
    """The snapshotter of overlayfs: writable directories below ``root``. All calls block."""

    def __init__(self, root: Path, layers: LayerStore) -> None:
        self._snapshots = root / "s"
        self._layers = layers
        self.empty = root / "empty"
        """A lower directory with nothing in it: overlayfs wants at least one."""
        self.options = tuple(f"{name}={value.decode()}" for name, value in _OPTIONS)
        for directory in (self._snapshots, self.empty):
            make_private(directory)
        self.empty.chmod(_ROOT_MODE)

    def upper(self, key: str) -> Path:
        return self._snapshots / key / "upper"

    def work(self, key: str) -> Path:
        return self._snapshots / key / "work"

    def mounts(self, key: str, layers: Sequence[Path], *, writable: bool) -> list[types_pb2.MountSpec]:
        """One overlay; a view of nothing is the empty directory itself."""
        lowers = [bytes(layer) for layer in layers]
        if not lowers and not writable:
            read_only = [types_pb2.MountOption(key="ro")]
            return [types_pb2.MountSpec(type="bind", source=bytes(self.empty), options=read_only)]
        # overlayfs wants a lower directory, and two where nothing is writable.
        if len(lowers) < (1 if writable else 2):
            lowers.append(bytes(self.empty))
        options = [types_pb2.MountOption(key="lowerdir", value=lower) for lower in lowers]
        if writable:
            options.append(types_pb2.MountOption(key="upperdir", value=bytes(self.upper(key))))
            options.append(types_pb2.MountOption(key="workdir", value=bytes(self.work(key))))
        else:
            options.append(types_pb2.MountOption(key="ro"))
        options += [types_pb2.MountOption(key=name, value=value) for name, value in _OPTIONS]
        return [types_pb2.MountSpec(type="overlay", options=options)]

    def make(self, key: str) -> None:
        """Make the directories where they are missing. A container's ``/`` is 0755, as Docker's."""
        make_private(self._snapshots / key)
        for directory in (self.work(key), self.upper(key)):
            try:
                directory.mkdir()
            except FileExistsError:
                continue
            directory.chmod(_ROOT_MODE)

    def begin_change(self, key: str) -> None:
        """Make the directories of a change, empty, whatever a crash left there."""
        self.drop_change(key)
        for directory in self._new(key):
            directory.mkdir()
            directory.chmod(_ROOT_MODE)

    def end_change(self, key: str) -> None:
        """Let the changed upper directory take the original's place, which is ``upper.new`` then."""
        home = os.open(self._snapshots / key, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            kernel.renameat2(home, b"upper.new", home, b"upper", kernel.RENAME_EXCHANGE)
        finally:
            os.close(home)

    def replace(self, key: str, directory: Path) -> None:
        """Let ``directory``, of the same file system, take the upper directory's place."""
        self.drop_change(key)
        directory.rename(self._new(key)[0])
        self.end_change(key)
        self.drop_change(key)

    def is_empty(self, key: str) -> bool:
        """Whether nothing was changed in the snapshot."""
        return next(self.upper(key).iterdir(), None) is None

    def drop_change(self, key: str) -> None:
        """Move what is left of a change out of the way."""
        for directory in self._new(key):
            self._layers.bin(directory)

    def recover(self) -> None:
        """Move out of the way what crashes left of changes. Nothing may be changing."""
        for key in self.names():
            self.drop_change(key)

    def _new(self, key: str) -> tuple[Path, Path]:
        return self._snapshots / key / "upper.new", self._snapshots / key / "work.new"

    def has(self, key: str) -> bool:
        return self.upper(key).is_dir() and self.work(key).is_dir()

    def bin(self, key: str) -> None:
        """Move the directories out of the way; nothing where they are not there."""
        self._layers.bin(self._snapshots / key)

    def names(self) -> set[str]:
        return set(os.listdir(self._snapshots))

    def usage(self, key: str) -> trees.Usage:
        """What the writable layer occupies."""
        here = os.open(self._snapshots / key, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return trees.usage(here, b"upper")
        finally:
            os.close(here)
