"""What imaged's verbs share: the stores, the catalogue, the pools, and how things are kept from the sweep."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.blocking import Pool
from chassis.events import EventLog
from chassis.operations import Operations
from chassis.store import Store
from imaged.blobs import BlobStore
from imaged.gate import Gate, NamedLocks
from imaged.layers import LayerStore
from imaged.rootfs import RootfsStore
from imaged.settings import ImagedSettings
from imaged.unpack.unpacker import Unpacker


@dataclass(frozen=True)
class State:
    """One imaged's everything. ``files`` runs what blocks on files, ``streams`` what waits for a client's bytes."""

    settings: ImagedSettings
    store: Store
    events: EventLog
    operations: Operations
    blobs: BlobStore
    layers: LayerStore
    rootfs: RootfsStore
    unpacker: Unpacker
    files: Pool
    streams: Pool
    gate: Gate
    locks: NamedLocks
