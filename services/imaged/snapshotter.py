"""What stands between the records of snapshots and what is on disk for them.

The records say which snapshots there are, what each stands on and what it is for; a *snapshotter* keeps what a
container changes, and says what is to be mounted. Everything else of imaged goes through these methods, so a second
one (layers as EROFS images, say) is a module beside rootfs.py and a row in ``KINDS``.

Vocabulary. A *key* names a snapshot; its *upper* is the directory where changes land, made by ``make`` and away after
``bin``. Layers are paths, the upmost first. A *change* is made in a second upper beside the first, by a program that
mounts it, and takes its place by ``end_change``, or is dropped.

Life of a build step: ``make(key)``; ``mounts(key, layers, writable=True)`` for whoever runs it; ``begin_change(key)``,
files are copied, ``end_change(key)``, ``drop_change(key)``; the commit reads the upper and takes it as a layer;
``bin(key)``. All calls block. ``tests/service/imaged/test_snapshotter.py`` states what must hold, through the contract.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from chassis.errors import InvalidArgument, Unimplemented
from chassis.trees import Usage
from imaged.layers import LayerStore
from imaged.rootfs import OverlayRootfs
from pier.types.v1 import types_pb2


class Snapshotter(Protocol):
    """See the module."""

    @property
    def options(self) -> tuple[str, ...]:
        """What every mount of layers and an upper gets besides them."""

    @property
    def empty(self) -> Path:
        """A directory with nothing in it, to stand below an upper where no layer does."""

    def mounts(self, key: str, layers: Sequence[Path], *, writable: bool) -> list[types_pb2.MountSpec]:
        """What is to be mounted, in this order, to see the snapshot."""

    def upper(self, key: str) -> Path: ...
    def make(self, key: str) -> None:
        """Make what a writable snapshot needs where it is missing."""

    def has(self, key: str) -> bool:
        """Whether that is all there."""

    def is_empty(self, key: str) -> bool:
        """Whether nothing was changed in the snapshot."""

    def usage(self, key: str) -> Usage: ...
    def bin(self, key: str) -> None:
        """Move what belongs to the snapshot out of the way; nothing where it is not there."""

    def names(self) -> set[str]:
        """Keys of all for which there is something on disk."""

    def begin_change(self, key: str) -> None:
        """Make what a change needs, empty, whatever a crash left there."""

    def end_change(self, key: str) -> None:
        """Let the changed upper take the original's place, at once."""

    def drop_change(self, key: str) -> None:
        """Move what is left of a change out of the way."""

    def replace(self, key: str, directory: Path) -> None:
        """Let ``directory``, of the same file system, take the upper's place, at once."""

    def recover(self) -> None:
        """Move out of the way what crashes left of changes. Nothing may be changing."""


KINDS: Final[dict[str, Callable[[Path, LayerStore], Snapshotter]]] = {"overlayfs": OverlayRootfs}
REFUSED: Final = ("btrfs", "zfs", "fuse-overlayfs", "native", "devmapper", "erofs", "stargz", "vfs", "aufs")
"""Names that other engines know."""


def opened(kind: str, root: Path, layers: LayerStore) -> Snapshotter:
    """The snapshotter called ``kind``. Unimplemented (NO_SNAPSHOTTER) for one that others have, InvalidArgument."""
    known = ", ".join(KINDS)
    if kind in REFUSED:
        raise Unimplemented(f"snapshotter: {kind} is not supported", reason="NO_SNAPSHOTTER", field="snapshotter",
                            expected=known)
    if kind not in KINDS:
        raise InvalidArgument(f"snapshotter: {kind[:80]!a} is none", reason="BAD_SNAPSHOTTER", field="snapshotter",
                              expected=known)
    return KINDS[kind](root, layers)
