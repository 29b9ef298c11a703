"""imaged.blobs: a blob is there whole, under its own digest, or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from chassis.errors import Aborted, DataLoss, InvalidArgument, NotFound
from chassis.ids import digest
from imaged.blobs import BlobStore


def of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "content")


def test_a_blob_is_read_as_it_was_written(store: BlobStore) -> None:
    name = store.put(b"hello")
    assert name == of(b"hello")
    assert store.read(name, 5) == b"hello"
    assert store.size(name) == 5
    assert list(store) == [name]
    with pytest.raises(InvalidArgument):
        store.read(name, 4)


def test_an_ingest_goes_on_where_it_was_left(store: BlobStore) -> None:
    first = store.ingest("pull")
    first.write(b"hel")
    first.close()
    assert store.ingested("pull") == 3
    second = store.ingest("pull")
    assert second.offset == 3
    second.write(b"lo")
    assert second.commit(digest(of(b"hello")), 5) == of(b"hello")
    assert store.ingested("pull") == 0


@pytest.mark.parametrize("content, size", [(b"evil!", 5), (b"hell", 5), (b"hello", 4)])
def test_a_blob_that_is_not_as_promised_leaves_nothing(store: BlobStore, content: bytes, size: int) -> None:
    ingest = store.ingest("x")
    ingest.write(content)
    with pytest.raises(DataLoss) as caught:
        ingest.commit(digest(of(b"hello")), size)
    assert caught.value.reason == "DIGEST_MISMATCH"
    assert list(store) == []
    assert store.ingested("x") == 0
    assert store.ingest("x").offset == 0


def test_one_ingest_has_one_writer(store: BlobStore) -> None:
    first = store.ingest("x")
    with pytest.raises(Aborted):
        store.ingest("x")
    first.close()
    store.ingest("x").abort()


def test_a_reader_of_an_ingest_sees_it_through_its_commit(store: BlobStore) -> None:
    ingest = store.ingest("x")
    fd = ingest.open_for_reading()
    ingest.write(b"abc")
    ingest.commit()
    assert os.pread(fd, 10, 0) == b"abc"
    os.close(fd)


def test_an_ingest_that_starts_over_forgets(store: BlobStore) -> None:
    ingest = store.ingest("x")
    ingest.write(b"wrong")
    ingest.restart()
    ingest.write(b"right")
    assert ingest.commit() == of(b"right")


def test_what_is_not_there_is_not_found(store: BlobStore) -> None:
    absent = digest(of(b"absent"))
    assert not store.has(absent)
    assert store.remove(absent) == 0
    for call in (store.size, store.open):
        with pytest.raises(NotFound):
            call(absent)


def test_a_damaged_blob_is_set_aside_with_its_reason_until_a_whole_one_comes(
    store: BlobStore, tmp_path: Path
) -> None:
    name = store.put(b"hello")
    store.path(name).write_bytes(b"hullo")
    inode = store.path(name).stat().st_ino
    assert not store.set_aside(name, inode + 1, "another file by now")
    assert store.has(name)
    assert store.set_aside(name, inode, "wrong bytes")
    assert not store.set_aside(name, inode, "gone by now")
    assert not store.has(name)
    note = store.quarantine.note(name)
    assert note is not None
    assert note.reason == "wrong bytes"
    assert list(store.quarantine) == [name]
    assert (store.quarantine.count, BlobStore(tmp_path / "content").quarantine.count) == (1, 1)
    store.put(b"hello")
    assert store.read(name, 5) == b"hello"
    assert list(store.quarantine) == []
    assert store.quarantine.count == 0
    assert store.quarantine.note(name) is None
    assert store.quarantine.drop(name) == 0


def test_old_ingests_are_swept_and_busy_ones_stay(store: BlobStore) -> None:
    busy, left = store.ingest("busy"), store.ingest("left")
    busy.write(b"12")
    left.write(b"123")
    left.close()
    assert store.sweep_ingests(older_than=0) == 0
    assert store.sweep_ingests(older_than=1 << 40) == 3
    assert store.ingested("busy") == 2
    busy.close()


def test_nothing_in_the_store_is_open_to_others(store: BlobStore, tmp_path: Path) -> None:
    store.put(b"hello")
    store.ingest("x").close()
    for path in (tmp_path / "content", *(tmp_path / "content").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
