"""What imaged's verbs share: the stores, the catalogue, the pools, and how things are kept from the sweep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chassis.blocking import Pool
from chassis.config import Current
from chassis.events import EventLog
from chassis.locks import NamedLocks
from chassis.operations import Operations
from chassis.store import Store
from imaged.blobs import BlobStore
from imaged.gate import Gate
from imaged.helpers.helpers import Helpers
from imaged.layers import LayerStore
from imaged.settings import ImagedSettings
from imaged.snapshotter import Snapshotter
from imaged.unpack.unpacker import Unpacker


@dataclass(frozen=True)
class State:
    """One imaged's everything. ``volumes`` is the directory of volumes, ``pours`` that of the gateway's offers;
    ``files`` runs what blocks on files, ``streams`` what waits for a client's bytes."""

    current: Current[ImagedSettings]
    store: Store
    events: EventLog
    operations: Operations
    blobs: BlobStore
    layers: LayerStore
    rootfs: Snapshotter
    volumes: Path
    pours: Path
    unpacker: Unpacker
    helpers: Helpers
    files: Pool
    streams: Pool
    gate: Gate
    locks: NamedLocks

    @property
    def settings(self) -> ImagedSettings:
        return self.current.settings
