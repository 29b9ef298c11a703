"""A step that changes files: found by its cache key, or carried out and committed under it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import msgspec

from buildd import keys, records, snapshots
from buildd.records import Inputs, Record
from buildd.snapshots import Ground
from buildd.state import State
from chassis.ids import new_id
from chassis.stages import stage
from pier.image.v1 import image_pb2


@dataclass(frozen=True)
class Worked:
    """The step was carried out. ``mount_points``: where its container's own mounts were. One that was taken over from
    an image tells its ``layer``'s chain id and when it was made."""

    mount_points: Iterable[bytes] = ()
    layer: str = ""
    created_ns: int = 0


Work = Callable[[str], AbstractAsyncContextManager[Worked]]
"""Carries a step out in the writable snapshot whose key it is given, which it makes and takes away."""


@dataclass(frozen=True)
class Rules:
    """How a build uses records. ``clamp_ns``: the latest time that may stand in a layer."""

    no_cache: bool = False
    clamp_ns: int | None = None


@dataclass(frozen=True)
class Done:
    """``miss`` says why it was not found; "" where it was."""

    record: Record
    cached: bool
    miss: str = ""

    @property
    def ground(self) -> Ground:
        return Ground(self.record.key, self.record.snapshot, self.record.chain_id)


async def carry_out(state: State, place: str, inputs: Inputs, rules: Rules, work: Work) -> Done:
    """The step's record, by ``work`` where there is none. Two builds that need the same step carry it out once."""
    if rules.clamp_ns is not None:  # the same files with other times are another layer
        inputs = msgspec.structs.replace(inputs, settings={**inputs.settings, "source date": str(rules.clamp_ns)})
    key = keys.key_of(inputs)
    async with state.locks.hold(key):
        async with stage("build.lookup"):
            found = await look_up(state, key)
            if found is not None and not rules.no_cache:
                return Done(found, cached=True)
            last = await state.store.read(lambda connection: records.last_at(connection, place))
        miss = "not cached on request" if rules.no_cache else keys.why(inputs, last)
        name = key if found is None else new_id()
        record = Record(
            key=key, type=records.REGULAR, parent=inputs.ground, place=place, snapshot=name, inputs=inputs,
            created_ns=time.time_ns(), made_in=new_id(),
        )
        await state.store.write("build.intend", lambda connection: records.begin(connection, record))
        done = await _carry_out(state, record, rules, work)
        if found is not None and found.snapshot:
            discard(state, found)
        return Done(done, cached=False, miss=miss)


async def _carry_out(state: State, record: Record, rules: Rules, work: Work) -> Record:
    committing = False
    try:
        async with work(record.made_in) as worked:
            async with stage("build.commit", key=record.key):
                committing = True
                made = await snapshots.commit(
                    state, record.made_in, record.snapshot, worked.mount_points, rules.clamp_ns)
        done = completed(record, made)
        if worked.layer or worked.created_ns:
            done = msgspec.structs.replace(
                done, layer=worked.layer, created_ns=worked.created_ns or done.created_ns)
        await _write(state, done)
    except BaseException:
        if committing:
            state.doubtful.add(record.key)
        else:
            state.operations.spawn("abandon", lambda: state.store.write(
                "build.abandon", lambda connection: records.abandon(connection, record.key)))
        raise
    return done


async def _write(state: State, record: Record) -> None:
    await state.store.write("build.record", lambda connection: records.put(connection, record))


def completed(record: Record, made: image_pb2.CommitSnapshotResponse) -> Record:
    """The record with what imaged says about its layer."""
    layer = made.layer if made.HasField("layer") else None
    return msgspec.structs.replace(
        record, chain_id=made.chain_id, layer=layer.chain_id if layer else "", size=layer.size if layer else 0)


async def look_up(state: State, key: str) -> Record | None:
    """The record of ``key``. One that was broken off is asked for at imaged first."""
    if key in state.doubtful:
        await settle(state, key)
    return await state.store.read(lambda connection: records.find(connection, key))


async def settle(state: State, key: str) -> None:
    """Finish or take back the intent of ``key``: imaged knows whether its snapshot was committed."""
    for record in await state.store.read(records.unfinished):
        if record.key != key:
            continue
        there = await snapshots.committed(state, record.snapshot)
        if there is None:
            await state.store.write("settle.abandon", lambda connection: records.abandon(connection, key))
        else:
            # The same call again answers the first's layer.
            made = await snapshots.commit(state, record.made_in, record.snapshot)
            await _write(state, completed(record, made))
    state.doubtful.discard(key)


def discard(state: State, record: Record) -> None:
    """The snapshot of a record that another has taken the place of; while a build uses it, it stays."""
    if state.in_use[record.key]:
        state.discarded.setdefault(record.key, []).append(record.snapshot)
    else:
        state.see_to(f"drop:{record.snapshot}", lambda: snapshots.drop(state, record.snapshot))
