"""The catalogue: what imaged knows besides the bytes. SQL and rows, nothing else; each function runs in a transaction.

An *image* is a config of one namespace with the manifest it came by; *refs* point at images; a *layer* is an unpacked
directory; a *snapshot* is a root file system in use; a *lease* keeps blobs and layers. What is kept follows from these
tables alone (``gc.mark``): there are no reference counts.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

import msgspec

from chassis.errors import InvalidArgument, NotFound
from chassis.ids import Digest

MIGRATIONS: Final = ("""
CREATE TABLE images (
    namespace TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, created_ns INTEGER NOT NULL,
    tagged_ns INTEGER NOT NULL, pinned INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (namespace, id)) STRICT;
CREATE TABLE refs (
    namespace TEXT NOT NULL, reference TEXT NOT NULL, image_id TEXT NOT NULL, target TEXT NOT NULL,
    PRIMARY KEY (namespace, reference),
    FOREIGN KEY (namespace, image_id) REFERENCES images (namespace, id)) STRICT;
CREATE INDEX refs_of_image ON refs (namespace, image_id);
CREATE TABLE layers (
    chain_id TEXT PRIMARY KEY, diff_id TEXT NOT NULL, parent TEXT NOT NULL, size INTEGER NOT NULL,
    opaque_root INTEGER NOT NULL) STRICT;
CREATE TABLE snapshots (
    key TEXT PRIMARY KEY, manager TEXT NOT NULL, namespace TEXT NOT NULL, owner_id TEXT NOT NULL,
    created_ns INTEGER NOT NULL, parent TEXT NOT NULL, writable INTEGER NOT NULL, asked TEXT NOT NULL) STRICT;
CREATE TABLE leases (
    id TEXT PRIMARY KEY, manager TEXT NOT NULL, namespace TEXT NOT NULL, owner_id TEXT NOT NULL,
    expires_ns INTEGER NOT NULL) STRICT;
CREATE TABLE lease_items (
    lease TEXT NOT NULL REFERENCES leases (id) ON DELETE CASCADE, kind TEXT NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (lease, kind, name)) STRICT;
CREATE TABLE volumes (
    namespace TEXT NOT NULL, name TEXT NOT NULL, manager TEXT NOT NULL, owner_id TEXT NOT NULL,
    labels TEXT NOT NULL, created_ns INTEGER NOT NULL, PRIMARY KEY (namespace, name)) STRICT;
""", """
ALTER TABLE volumes ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
""", """
ALTER TABLE snapshots ADD COLUMN committed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE snapshots ADD COLUMN layers TEXT NOT NULL DEFAULT '[]';
""")


class ImageLayer(msgspec.Struct, frozen=True):
    """One layer of an image, and the blob that it came as."""

    diff_id: Digest
    chain_id: Digest
    media_type: str
    blob: Digest
    blob_size: int


class Body(msgspec.Struct, frozen=True):
    """What an image is made of. ``blobs`` are the documents that belong to it: manifest and index."""

    manifest: Digest
    manifest_type: str
    manifest_size: int
    layers: list[ImageLayer]
    blobs: list[Digest]


@dataclass(frozen=True)
class ImageRow:
    """An image of a namespace; ``created_ns`` is the config's, 0 where it has none."""

    namespace: str
    id: Digest
    body: Body
    created_ns: int
    tagged_ns: int
    pinned: bool = False


@dataclass(frozen=True)
class Ref:
    """A canonical reference, the image it means and the digest of what it was pulled or made as."""

    reference: str
    image_id: Digest
    target: Digest

    @property
    def is_digest(self) -> bool:
        return "@" in self.reference


@dataclass(frozen=True)
class LayerRow:
    chain_id: Digest
    diff_id: Digest
    parent: str
    size: int
    opaque_root: bool


@dataclass(frozen=True)
class SnapshotRow:
    """``parent`` is the topmost layer's chain id, "" for none; ``asked`` is what the caller named as parent, or the
    snapshot that it was committed from. ``layers`` are those below with their blobs, bottom first: empty also where
    they are not known."""

    key: str
    manager: str
    namespace: str
    owner_id: str
    created_ns: int
    parent: str
    writable: bool
    asked: str
    committed: bool = False
    layers: tuple[ImageLayer, ...] = ()


def put_image(connection: sqlite3.Connection, row: ImageRow) -> None:
    """Write an image; one that is there gets the new manifest."""
    connection.execute(
        "INSERT INTO images (namespace, id, body, created_ns, tagged_ns) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (namespace, id) DO UPDATE SET body=excluded.body, tagged_ns=excluded.tagged_ns",
        (row.namespace, row.id, msgspec.json.encode(row.body), row.created_ns, row.tagged_ns),
    )


def put_ref(connection: sqlite3.Connection, namespace: str, ref: Ref) -> None:
    """Let a reference mean an image, whatever it meant before."""
    connection.execute(
        "INSERT OR REPLACE INTO refs VALUES (?, ?, ?, ?)", (namespace, ref.reference, ref.image_id, ref.target)
    )


def drop_ref(connection: sqlite3.Connection, namespace: str, reference: str) -> None:
    connection.execute("DELETE FROM refs WHERE namespace=? AND reference=?", (namespace, reference))


def drop_image(connection: sqlite3.Connection, namespace: str, image_id: str) -> None:
    """Take an image and its references away."""
    connection.execute("DELETE FROM refs WHERE namespace=? AND image_id=?", (namespace, image_id))
    connection.execute("DELETE FROM images WHERE namespace=? AND id=?", (namespace, image_id))


def _image(row: tuple[str, str, bytes, int, int, int]) -> ImageRow:
    namespace, id_, body, created_ns, tagged_ns, pinned = row
    return ImageRow(namespace, Digest(id_), msgspec.json.decode(body, type=Body), created_ns, tagged_ns, bool(pinned))


_IMAGE: Final = "SELECT namespace, id, body, created_ns, tagged_ns, pinned FROM images "


def image(connection: sqlite3.Connection, namespace: str, image_id: str) -> ImageRow | None:
    row = connection.execute(_IMAGE + "WHERE namespace=? AND id=?", (namespace, image_id)).fetchone()
    return _image(row) if row else None


def images(connection: sqlite3.Connection, namespace: str, limit: int, offset: int) -> list[ImageRow]:
    """A page of a namespace's images, newest first."""
    rows = connection.execute(
        _IMAGE + "WHERE namespace=? ORDER BY created_ns DESC, id LIMIT ? OFFSET ?", (namespace, limit, offset)
    )
    return [_image(row) for row in rows]


def all_images(connection: sqlite3.Connection) -> list[ImageRow]:
    return [_image(row) for row in connection.execute(_IMAGE)]


def ref(connection: sqlite3.Connection, namespace: str, reference: str) -> Ref | None:
    row = connection.execute(
        "SELECT reference, image_id, target FROM refs WHERE namespace=? AND reference=?", (namespace, reference)
    ).fetchone()
    return Ref(*row) if row else None


def refs_of(connection: sqlite3.Connection, namespace: str, image_id: str) -> list[Ref]:
    """An image's references, sorted."""
    rows = connection.execute(
        "SELECT reference, image_id, target FROM refs WHERE namespace=? AND image_id=? ORDER BY reference",
        (namespace, image_id),
    )
    return [Ref(*row) for row in rows]


def refs_in(connection: sqlite3.Connection, namespace: str, repository: str) -> list[Ref]:
    """The references with a tag in ``repository`` ("docker.io/library/busybox"), sorted."""
    rows = connection.execute(
        "SELECT reference, image_id, target FROM refs WHERE namespace=? AND reference>? AND reference<? "
        "ORDER BY reference",
        (namespace, f"{repository}:", f"{repository};"),  # the character after ":"
    )
    return [ref for row in rows if not (ref := Ref(*row)).is_digest]


def by_prefix(connection: sqlite3.Connection, namespace: str, prefix: str) -> Digest | None:
    """The id of the one image whose id begins with ``sha256:`` + ``prefix``; InvalidArgument where several do."""
    rows = connection.execute(
        "SELECT id FROM images WHERE namespace=? AND substr(id, 1, ?)=? LIMIT 2",
        (namespace, len(prefix) + 7, "sha256:" + prefix),
    ).fetchall()
    if len(rows) > 1:
        raise InvalidArgument(f"image id prefix {prefix!r} is ambiguous", reason="AMBIGUOUS", field="image")
    return Digest(rows[0][0]) if rows else None


def put_layer(connection: sqlite3.Connection, row: LayerRow) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO layers VALUES (?, ?, ?, ?, ?)",
        (row.chain_id, row.diff_id, row.parent, row.size, int(row.opaque_root)),
    )


def layer(connection: sqlite3.Connection, chain_id: str) -> LayerRow | None:
    row = connection.execute("SELECT * FROM layers WHERE chain_id=?", (chain_id,)).fetchone()
    return LayerRow(row[0], row[1], row[2], row[3], bool(row[4])) if row else None


def layers(connection: sqlite3.Connection) -> list[LayerRow]:
    rows = connection.execute("SELECT * FROM layers ORDER BY chain_id")
    return [LayerRow(row[0], row[1], row[2], row[3], bool(row[4])) for row in rows]


def drop_layer(connection: sqlite3.Connection, chain_id: str) -> None:
    connection.execute("DELETE FROM layers WHERE chain_id=?", (chain_id,))


def chain(connection: sqlite3.Connection, top: str) -> list[LayerRow]:
    """The layers from ``top`` down to the last that shows, topmost first. NotFound where one is not unpacked."""
    found: list[LayerRow] = []
    while top:
        row = layer(connection, top)
        if row is None:
            raise NotFound(f"layer {top} is not here: pull its image again", reason="NO_LAYER")
        found.append(row)
        top = "" if row.opaque_root else row.parent
    return found


_SNAPSHOT: Final = "SELECT * FROM snapshots "


def _snapshot(row: tuple[str, str, str, str, int, str, int, str, int, str]) -> SnapshotRow:
    key, manager, namespace, owner_id, created_ns, parent, writable, asked, committed, layers = row
    return SnapshotRow(
        key, manager, namespace, owner_id, created_ns, parent, bool(writable), asked, bool(committed),
        msgspec.json.decode(layers, type=tuple[ImageLayer, ...]))


def put_snapshot(connection: sqlite3.Connection, row: SnapshotRow) -> None:
    connection.execute(
        "INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (row.key, row.manager, row.namespace, row.owner_id, row.created_ns, row.parent, int(row.writable), row.asked,
         int(row.committed), msgspec.json.encode(row.layers).decode()),
    )


def snapshot(connection: sqlite3.Connection, key: str) -> SnapshotRow | None:
    row = connection.execute(_SNAPSHOT + "WHERE key=?", (key,)).fetchone()
    return _snapshot(row) if row else None


def snapshots(
    connection: sqlite3.Connection, manager: str = "", namespace: str = "", limit: int = -1, after: str = ""
) -> list[SnapshotRow]:
    """Snapshots by key, of one manager and namespace where they are given."""
    rows = connection.execute(
        _SNAPSHOT + "WHERE key > ? AND (?='' OR manager=?) AND (?='' OR namespace=?) ORDER BY key LIMIT ?",
        (after, manager, manager, namespace, namespace, limit),
    )
    return [_snapshot(row) for row in rows]


def drop_snapshot(connection: sqlite3.Connection, key: str) -> None:
    connection.execute("DELETE FROM snapshots WHERE key=?", (key,))


def known_layers(connection: sqlite3.Connection, chain_id: str) -> tuple[ImageLayer, ...]:
    """The layers from the bottom to ``chain_id`` with their blobs, as an image or a committed snapshot has them; none
    where nothing does."""
    kept = [row.body.layers for row in all_images(connection)] + [row.layers for row in snapshots(connection)]
    for layers_ in kept:
        for index, one in enumerate(layers_, start=1):
            if one.chain_id == chain_id:
                return tuple(layers_[:index])
    return ()


def put_lease(connection: sqlite3.Connection, row: tuple[str, str, str, str, int]) -> None:
    """(id, manager, namespace, owner id, expiry in ns); the same again sets the expiry anew."""
    connection.execute(
        "INSERT INTO leases VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET expires_ns=excluded.expires_ns", row
    )


def drop_lease(connection: sqlite3.Connection, lease: str) -> None:
    connection.execute("DELETE FROM leases WHERE id=?", (lease,))


def lease_owner(connection: sqlite3.Connection, lease: str) -> tuple[str, str, str] | None:
    row = connection.execute("SELECT manager, namespace, owner_id FROM leases WHERE id=?", (lease,)).fetchone()
    return (row[0], row[1], row[2]) if row else None


def check_lease(connection: sqlite3.Connection, lease: str) -> None:
    """NotFound where ``lease`` is not "" and not there."""
    if lease and lease_owner(connection, lease) is None:
        raise NotFound(f"no such lease: {lease}", reason="NO_LEASE", field="lease")


def keep(connection: sqlite3.Connection, lease: str, kind: str, names: list[str]) -> None:
    """Put blobs (kind "blob") or layers ("layer") under a lease; "" is no lease."""
    if lease:
        check_lease(connection, lease)
        connection.executemany(
            "INSERT OR IGNORE INTO lease_items VALUES (?, ?, ?)", [(lease, kind, name) for name in names]
        )


def kept(connection: sqlite3.Connection, kind: str) -> set[str]:
    """What leases keep."""
    return {name for (name,) in connection.execute("SELECT name FROM lease_items WHERE kind=?", (kind,))}


def expire_leases(connection: sqlite3.Connection, now_ns: int) -> None:
    connection.execute("DELETE FROM leases WHERE expires_ns > 0 AND expires_ns <= ?", (now_ns,))
