"""imaged's own gauges. Counting reads directories, so it is done between scrapes and not by them."""

from __future__ import annotations

from chassis import metrics
from imaged import catalog, gc
from imaged.state import State


class Statistics:
    """Numbers as they were at the last ``refresh``."""

    def __init__(self) -> None:
        self.images = self.snapshots = self.layers = 0
        self.blob_bytes = self.layer_bytes = self.unreferenced_bytes = 0

    def publish(self, state: State) -> None:
        """Show them at /metrics."""
        for name, text, read in (
            ("pier_images", "Images in all namespaces, at the last sweep.", lambda: self.images),
            ("pier_snapshots", "Root file systems in use, at the last sweep.", lambda: self.snapshots),
            ("pier_layers", "Unpacked layers, at the last sweep.", lambda: self.layers),
            ("pier_blob_bytes", "Size of all blobs, at the last sweep.", lambda: self.blob_bytes),
            ("pier_layer_bytes", "Size of the files of all unpacked layers, at the last sweep.",
             lambda: self.layer_bytes),
            ("pier_unreferenced_bytes", "Blobs and layers that nothing refers to, at the last sweep.",
             lambda: self.unreferenced_bytes),
            ("pier_quarantined_blobs", "Blobs that were found damaged, and are needed still.",
             lambda: state.blobs.quarantine.count),
        ):
            metrics.gauge(name, text, read)

    async def refresh(self, state: State) -> None:
        """Count anew."""
        marked_blobs = await state.store.read(gc.marked_blobs)
        marked_layers = await state.store.read(gc.marked_layers)
        layers = await state.store.read(catalog.layers)
        sizes = await state.files.run(lambda: {digest: state.blobs.size_or_zero(digest) for digest in state.blobs})
        self.images = len(await state.store.read(catalog.all_images))
        self.snapshots = len(await state.store.read(catalog.snapshots))
        self.layers = len(layers)
        self.blob_bytes = sum(sizes.values())
        self.layer_bytes = sum(row.size for row in layers)
        self.unreferenced_bytes = sum(size for digest, size in sizes.items() if digest not in marked_blobs) + sum(
            row.size for row in layers if row.chain_id not in marked_layers)
