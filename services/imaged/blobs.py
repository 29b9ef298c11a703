"""The content store: bytes under their digest, written once, whole or not at all.

A blob is written to a file of its own below ``ingest/``, verified, fsynced, and renamed to ``blobs/sha256/HEX``; the
rename is what makes it exist. An ingest that was broken off stays and is gone on with: its name is its caller's
``ref``, its length is how far it got. All calls block: they belong in a thread pool.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from chassis import kernel
from chassis.errors import Aborted, DataLoss, InvalidArgument, NotFound
from chassis.ids import Digest
from chassis.ids import digest as check_digest
from chassis.instance import make_private
from imaged.quarantine import Quarantine

_PIECE: Final = 1 << 20


class Ingest:
    """One blob on its way in, for one writer. ``offset`` is the length so far; ``close`` keeps it for later."""

    def __init__(self, store: BlobStore, path: Path) -> None:
        self._store = store
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._hash = hashlib.sha256()
        self.offset = 0
        while part := os.pread(self._fd, _PIECE, self.offset):
            self._hash.update(part)
            self.offset += len(part)

    @property
    def closed(self) -> bool:
        return self._fd < 0

    @property
    def digest(self) -> Digest:
        """Of the bytes so far."""
        return check_digest("sha256:" + self._hash.hexdigest())

    def write(self, data: bytes | memoryview) -> None:
        """Append ``data``."""
        self._hash.update(data)
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, self.offset)
            self.offset += written
            view = view[written:]

    def restart(self) -> None:
        """Forget what was written."""
        os.ftruncate(self._fd, 0)
        self._hash = hashlib.sha256()
        self.offset = 0

    def open_for_reading(self) -> int:
        """A new read-only descriptor of the file, which whoever asked closes; it outlives the commit."""
        return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def commit(self, expected: Digest | None = None, size: int | None = None) -> Digest:
        """Verify, make durable, give it its name. DataLoss, and nothing kept, where the bytes are not as promised."""
        digest = self.digest
        if (expected is not None and digest != expected) or (size is not None and size != self.offset):
            self.abort()
            raise DataLoss(
                f"blob: {self.offset} bytes with digest {digest} came where {size if size is not None else 'some'} "
                f"bytes with {expected} were promised",
                reason="DIGEST_MISMATCH", field="digest", expected=expected or "",
            )
        os.fsync(self._fd)
        os.rename(self.path, self._store.path(digest))
        sync_directory(self._store.path(digest).parent)
        self._store.quarantine.drop(digest)
        self.close()
        return digest

    def abort(self) -> None:
        """Throw it away."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Leave it for somebody to go on with."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._store.leave(self.path.name)


class BlobStore:
    """Blobs below ``root``, which belongs to this store alone."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs" / "sha256"
        self._ingests = root / "ingest"
        for directory in (root, root / "blobs", self._blobs, self._ingests):
            make_private(directory)
        self.quarantine = Quarantine(root / "quarantine")
        """What was not what its digest said; a blob that comes whole takes its place, and ends its stay there."""
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or would be."""
        return self._blobs / digest.removeprefix("sha256:")

    def has(self, digest: Digest) -> bool:
        return self.path(digest).exists()

    def size(self, digest: Digest) -> int:
        """Bytes; NotFound where there is no such blob."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise _missing(digest) from None

    def size_or_zero(self, digest: Digest) -> int:
        """Bytes, 0 where there is no such blob (any more)."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return 0

    def ingest(self, ref: str) -> Ingest:
        """Begin or go on with the ingest ``ref`` (any text). Aborted while somebody else writes it."""
        name = _ingest_name(ref)
        with self._lock:
            if name in self._busy:
                raise Aborted(f"blob: {ref!r} is being written already", reason="INGEST_BUSY")
            self._busy.add(name)
        try:
            return Ingest(self, self._ingests / name)
        except BaseException:
            self.leave(name)
            raise

    def leave(self, name: str) -> None:
        """An ingest's file has no writer any more."""
        with self._lock:
            self._busy.discard(name)

    def ingested(self, ref: str) -> int:
        """How many bytes of the ingest ``ref`` are here; 0 where there is none."""
        try:
            return (self._ingests / _ingest_name(ref)).stat().st_size
        except FileNotFoundError:
            return 0

    def put(self, content: bytes) -> Digest:
        """Store ``content``, which fits into memory."""
        digest = check_digest("sha256:" + hashlib.sha256(content).hexdigest())
        if not self.has(digest):
            ingest = self.ingest(f"put-{digest}-{threading.get_ident()}")
            try:
                ingest.restart()
                ingest.write(content)
                ingest.commit(digest)
            except BaseException:
                ingest.abort()
                raise
        return digest

    def open(self, digest: Digest) -> int:
        """A read-only descriptor, which the caller closes."""
        try:
            return os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise _missing(digest) from None

    def read(self, digest: Digest, limit: int) -> bytes:
        """The whole blob, of which at most ``limit`` bytes are expected."""
        fd = self.open(digest)
        with os.fdopen(fd, "rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise InvalidArgument(f"blob {digest} is longer than {limit} bytes", reason="TOO_LARGE")
        return content

    def modified(self, digest: Digest) -> float:
        """When the blob was written, in seconds of the epoch; infinity where it is not there."""
        try:
            return self.path(digest).stat().st_mtime
        except FileNotFoundError:
            return float("inf")

    def set_aside(self, digest: Digest, inode: int, reason: str) -> bool:
        """Move the file ``inode`` of the blob into quarantine; False where the blob is another file by now, or gone."""
        path = self.path(digest)
        try:
            if path.stat().st_ino != inode:
                return False
        except FileNotFoundError:
            return False
        try:
            self.quarantine.take(path, digest, reason)
        except FileNotFoundError:  # swept a moment ago
            self.quarantine.drop(digest)
            return False
        sync_directory(path.parent)
        return True

    def remove(self, digest: Digest) -> int:
        """Delete the blob; the bytes that this freed, 0 where it was not there."""
        try:
            size = self.path(digest).stat().st_size
            self.path(digest).unlink()
        except FileNotFoundError:
            return 0
        return size

    def __iter__(self) -> Iterator[Digest]:
        for name in sorted(os.listdir(self._blobs)):
            yield check_digest("sha256:" + name)

    def sweep_ingests(self, older_than: float) -> int:
        """Delete ingests that nobody writes and nobody has written since ``older_than`` (seconds of the epoch)."""
        freed = 0
        for path in self._ingests.iterdir():
            with self._lock:
                if path.name in self._busy:
                    continue
                # Its writer ended between the listing and here, by commit or abort, and took it away.
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    if status.st_mtime < older_than:
                        path.unlink()
                        freed += status.st_size
        return freed


def sync_tree(path: Path) -> None:
    """Everything below ``path``, and all else on its file system, is durable when this returns."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        kernel.syncfs(fd)
    finally:
        os.close(fd)


def sync_directory(path: Path) -> None:
    """fsync a directory: names made or taken away in it are durable when this returns."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _ingest_name(ref: str) -> str:
    return hashlib.sha256(ref.encode("utf-8", "surrogatepass")).hexdigest()


def _missing(digest: Digest) -> NotFound:
    return NotFound(f"no such blob: {digest}", reason="NO_BLOB")
