"""Unpacking while a layer comes, and workers that are cancelled, killed, or waited for."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from chassis.errors import Aborted, InvalidArgument, PierError
from chassis.ids import digest
from imaged.unpack.unpacker import Feed, Unpacker
from tests.service.imaged.layers import Bench, file, layer


async def test_a_layer_is_unpacked_while_it_comes(bench: Bench, tmp_path: Path) -> None:
    blob = layer(file("first", b"1" * 2_000_000), file("second", b"2" * 2_000_000))
    path = bench.root / "blob"
    path.write_bytes(blob[:2_500_000])
    filling = bench.store.begin()
    fd = os.open(path, os.O_RDONLY)
    feed = Feed(2_500_000)
    read = asyncio.Event()
    seen: list[int] = []

    def progress(done: int) -> None:
        seen.append(done)
        if done == 2_500_000:
            read.set()

    task = asyncio.create_task(bench.unpacker.unpack(fd, filling.fd, feed, progress))
    await asyncio.wait_for(read.wait(), 60)
    assert (filling.path / "first").stat().st_size == 2_000_000
    with path.open("ab") as out:
        out.write(blob[2_500_000:])
    feed.advance(len(blob), whole=True)
    result = await asyncio.wait_for(task, 60)
    os.close(fd)
    assert result.diff_id == "sha256:" + hashlib.sha256(blob).hexdigest()
    assert seen[-1] == len(blob)
    chain_id = digest(result.diff_id)
    bench.store.publish(filling, chain_id)
    assert bench.store.has(chain_id)
    assert (bench.store.path(chain_id) / "second").stat().st_size == 2_000_000
    bench.store.remove(chain_id)
    assert bench.store.names() == set()


async def test_a_cancelled_unpacking_has_no_worker_left(bench: Bench) -> None:
    path = bench.root / "blob"
    path.write_bytes(layer(file("a", b"1" * 2_000_000))[:1_500_000])
    filling = bench.store.begin()
    fd = os.open(path, os.O_RDONLY)
    begun = asyncio.Event()
    task = asyncio.create_task(bench.unpacker.unpack(fd, filling.fd, Feed(1_500_000), lambda _: begun.set()))
    await asyncio.wait_for(begun.wait(), 60)
    (zygote,) = _children(os.getpid())
    assert len(_children(zygote)) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    os.close(fd)
    bench.store.discard(filling)
    while _children(zygote):
        await asyncio.sleep(0)  # it has closed its channel; the zygote still reaps it


def _setter(event: asyncio.Event) -> Callable[[int], None]:
    return lambda _: event.set()


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


async def test_a_killed_worker_and_a_killed_zygote_are_errors_and_the_next_layer_works(bench: Bench) -> None:
    path = bench.root / "blob"
    blob = layer(file("a", b"1" * 2_000_000))
    path.write_bytes(blob)
    fd = os.open(path, os.O_RDONLY)
    for kill_zygote in (False, True):
        filling = bench.store.begin()
        begun = asyncio.Event()
        task = asyncio.create_task(bench.unpacker.unpack(fd, filling.fd, Feed(1_500_000), _setter(begun)))
        await asyncio.wait_for(begun.wait(), 60)
        (zygote,) = _children(os.getpid())
        os.kill(zygote if kill_zygote else _children(zygote)[0], signal.SIGKILL)
        with pytest.raises(PierError, match="the worker ended without an answer"):
            await asyncio.wait_for(task, 60)
        bench.store.discard(filling)
    os.close(fd)
    root = await bench.unpack(blob)
    assert (root / "a").stat().st_size == 2_000_000


async def test_the_lock_is_held_until_the_last_worker_has_ended(bench: Bench) -> None:
    await bench.unpack(layer(file("a")))
    bench.unpacker.take_lock()
    other = Unpacker(bench.root / "lock")
    waiting = asyncio.create_task(asyncio.to_thread(other.take_lock))
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done
    await bench.unpacker.close()
    await asyncio.wait_for(waiting, 60)
    await other.close()
    bench.unpacker = Unpacker(bench.root / "lock")


async def test_an_aborted_upload_is_aborted(bench: Bench) -> None:
    path = bench.root / "blob"
    path.write_bytes(b"\x1f\x8b")
    fd = os.open(path, os.O_RDONLY)
    filling = bench.store.begin()
    feed = Feed(2)
    with pytest.raises((Aborted, InvalidArgument, asyncio.TimeoutError)):
        await asyncio.wait_for(bench.unpacker.unpack(fd, filling.fd, feed), 0.3)
    os.close(fd)
    bench.store.discard(filling)
