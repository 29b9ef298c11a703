"""Named volumes of the local driver: a directory that outlives containers.

The record makes a volume exist; its directory is ``volumes/NAMESPACE/NAME/_data``. What is in it is somebody's: it is
deleted by RemoveVolume alone, after an intent, and never because a record is missing.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chassis import store, trees
from chassis.errors import Internal, InvalidArgument, NotFound, ResourceExhausted, Unavailable, Unimplemented
from chassis.ids import Name, Namespace
from chassis.ids import name as check_name
from chassis.ids import namespace as check_namespace
from chassis.ids import owner as check_owner
from chassis.instance import make_private
from chassis.stages import stage
from imaged import copy_up, snapshots, volume_options
from imaged.blobs import sync_directory, sync_tree
from imaged.state import State
from imaged.unbroken import unbroken
from imaged.volume_options import Directory, FileSystem
from pier.image.v1 import image_pb2 as pb
from pier.types.v1 import types_pb2

REMOVE: Final = "volume.remove"
_MODE: Final = 0o755


@dataclass(frozen=True)
class VolumeRow:
    """``labels`` and ``options`` are JSON."""

    namespace: Namespace
    name: Name
    manager: str
    owner_id: str
    labels: str
    created_ns: int
    options: str = "{}"

    @property
    def place(self) -> Directory | FileSystem | None:
        """The host's directory or the file system that it is; None where it has a directory of its own."""
        return volume_options.parse(json.loads(self.options))


def rows(connection: sqlite3.Connection, namespace: str = "", limit: int = -1, after: str = "") -> list[VolumeRow]:
    """Volumes by namespace and name, of one namespace where it is given."""
    found = connection.execute(
        "SELECT * FROM volumes WHERE (?='' OR namespace=?) AND name > ? ORDER BY namespace, name LIMIT ?",
        (namespace, namespace, after, limit),
    )
    return [VolumeRow(*row) for row in found]


def _row(connection: sqlite3.Connection, namespace: str, name: str) -> VolumeRow | None:
    row = connection.execute("SELECT * FROM volumes WHERE namespace=? AND name=?", (namespace, name)).fetchone()
    return VolumeRow(*row) if row else None


def _home(state: State, namespace: str, name: str) -> Path:
    return state.volumes / namespace / name


def make_directory(state: State, namespace: str, name: str) -> bool:
    """Make the volume's directory where it is missing; whether it was."""
    make_private(state.volumes / namespace)
    make_private(_home(state, namespace, name))
    data = _home(state, namespace, name) / "_data"
    try:
        data.mkdir()
    except FileExistsError:
        return False
    data.chmod(_MODE)
    return True


def directories(state: State) -> set[tuple[str, str]]:
    """(namespace, name) of every volume directory."""
    return {
        (namespace, name) for namespace in os.listdir(state.volumes)
        for name in os.listdir(state.volumes / namespace)
    }


def drop_if_empty(state: State, namespace: str, name: str) -> bool:
    """Take away the directory of a volume that was never there; whether it was empty."""
    home = _home(state, namespace, name)
    try:
        if (home / "_data").is_dir():
            (home / "_data").rmdir()
        home.rmdir()
    except OSError:
        return False
    return True


async def create(state: State, request: pb.CreateVolumeRequest) -> pb.Volume:
    """Make a volume, or answer the one that is there."""
    owner = check_owner(request.owner)
    namespace, name = check_namespace(owner.namespace, "owner.namespace"), check_name(request.name)
    if request.driver not in ("", "local"):
        raise NotFound(f"volume driver {request.driver[:80]!a}: not found", reason="NO_DRIVER", field="driver")
    volume_options.parse(request.options)
    row = VolumeRow(
        namespace, name, owner.manager, owner.id, json.dumps(dict(request.labels), sort_keys=True), time.time_ns(),
        json.dumps(dict(request.options), sort_keys=True))

    def write(connection: sqlite3.Connection) -> VolumeRow:
        there = _row(connection, namespace, name)
        if there is not None:
            return there
        connection.execute(
            "INSERT INTO volumes VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row.namespace, row.name, row.manager, row.owner_id, row.labels, row.created_ns, row.options))
        state.events.append(connection, "volume", "create", name, owner, {"driver": "local"})
        return row

    async def work() -> pb.Volume:
        async with state.locks.hold(f"volume:{namespace}/{name}"):
            async with stage("volume_create.directory", volume=name):
                made = await state.files.run(make_directory, state, namespace, name)
            try:
                return _message(state, await state.store.write("volume_create.record", write))
            except sqlite3.Error:  # a full disk, most often
                if made:
                    await state.files.run(drop_if_empty, state, namespace, name)
                raise

    return await state.operations.run(
        f"volume:{namespace}/{name}", request.SerializeToString(deterministic=True), work)


async def get(state: State, namespace: str, name: str) -> pb.Volume:
    """NotFound in Docker's words where there is none."""
    return _message(state, await _need(state, check_namespace(namespace), check_name(name)))


async def _need(state: State, namespace: Namespace, name: Name) -> VolumeRow:
    row = await state.store.read(lambda connection: _row(connection, namespace, name))
    if row is None:
        raise NotFound(f"get {name}: no such volume", reason="NO_VOLUME", field="name")
    return row


async def listing(state: State, request: pb.ListVolumesRequest, page_size: int) -> tuple[list[pb.Volume], str]:
    """A page of a namespace's volumes, and the token of the next."""
    namespace = check_namespace(request.namespace)
    after = check_name(request.page_token, "page_token") if request.page_token else ""
    found = await state.store.read(lambda connection: rows(connection, namespace, page_size + 1, after))
    page = found[:page_size]
    return [_message(state, row) for row in page], page[-1].name if len(found) > page_size else ""


async def usage(state: State, namespace: str, name: str) -> trees.Usage:
    """What it takes on disk. Unimplemented (NO_DIRECTORY) where its files are elsewhere; Unavailable (CHANGED)."""
    row = await _need(state, check_namespace(namespace), check_name(name))
    if row.place is not None:
        raise Unimplemented(f"volume {row.name}: its files are not in a directory of its own", reason="NO_DIRECTORY",
                            field="name")

    def measure() -> trees.Usage:
        here = os.open(_home(state, row.namespace, row.name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return trees.usage(here, b"_data")
        finally:
            os.close(here)

    try:
        return await state.files.run(measure)
    except OSError as error:
        if error.errno not in (errno.ESTALE, errno.ENOENT):
            raise
        raise Unavailable(f"volume {row.name}: it changed while it was looked through", reason="CHANGED") from error


async def fill(state: State, request: pb.FillVolumeRequest) -> bool:
    """Copy a directory of a snapshot into the volume, if that is empty; whether it was. All or nothing."""
    namespace, name = check_namespace(request.namespace), check_name(request.name)
    if not request.path.startswith(b"/"):
        raise InvalidArgument("path is not absolute", reason="BAD_PATH", field="path", expected="an absolute path")
    row = await _need(state, namespace, name)
    lowers, options = await snapshots.lowers(state, request.snapshot)
    place = row.place
    if not lowers or isinstance(place, FileSystem):
        return False
    own = _home(state, namespace, name) / "_data"
    data = Path(place.path) if place else own
    new = own.with_name("_data.new")

    def is_empty() -> bool:
        try:
            return next(data.iterdir(), None) is None
        except (FileNotFoundError, NotADirectoryError):  # a start will say so
            return False

    def copy() -> bool:
        state.layers.bin(new)  # what a crash left
        return copy_up.copy(lowers, options, state.rootfs.empty, request.path, new)

    def take() -> None:
        if place:
            copy_up.move_into(new, data)
            state.layers.bin(new)
            return
        sync_tree(new)
        new.rename(data)
        sync_directory(data.parent)

    async with state.locks.hold(f"volume:{namespace}/{name}"):
        if not await state.files.run(is_empty):
            return False
        async with stage("volume_fill.copy", volume=name):
            try:
                found = await unbroken(state.files.run(copy))
            except OSError as error:
                await state.files.run(state.layers.bin, new)
                if error.errno == errno.ENOSPC:
                    raise ResourceExhausted("no space left on device", reason="NO_SPACE") from error
                raise Internal(f"volume {name}: its first content cannot be copied: {error.strerror}") from error
        if found:
            async with stage("volume_fill.rename", volume=name):
                await unbroken(state.files.run(take))
    return found


async def remove(state: State, namespace: str, name: str) -> int:
    """Delete a volume and what is in it; the bytes that this frees, 0 where it is not there. The caller knows that
    nothing uses it."""
    space, checked = check_namespace(namespace), check_name(name)
    key = f"volume:{space}/{checked}"

    def begin(connection: sqlite3.Connection) -> bool:
        if _row(connection, space, checked) is None:
            return False
        store.begin(connection, key, REMOVE, f"{space}/{checked}".encode())
        return True

    async def work() -> int:
        async with state.locks.hold(key):
            if not await state.store.write("volume_remove.intent", begin):
                return 0
            freed = await state.files.run(_occupied, _home(state, space, checked))
            await _finish(state, space, checked)
            return freed

    return await state.operations.run(f"remove-{key}", b"", work)


def _occupied(home: Path) -> int:
    try:
        here = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:  # an earlier removal came this far
        return 0
    try:
        return trees.usage(here, b"_data").bytes
    except FileNotFoundError:
        return 0
    finally:
        os.close(here)


async def finish_removal(state: State, intent: store.Intent) -> None:
    """Carry out a removal that a crash broke off."""
    namespace, _, name = intent.body.decode().partition("/")
    await _finish(state, check_namespace(namespace), check_name(name))


async def _finish(state: State, namespace: Namespace, name: Name) -> None:
    async with stage("volume_remove.directory", volume=name):
        await state.files.run(state.layers.bin, _home(state, namespace, name))

    def write(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM volumes WHERE namespace=? AND name=?", (namespace, name))
        store.finish(connection, f"volume:{namespace}/{name}")
        owner = types_pb2.Owner(manager="imaged", namespace=namespace, id=name)
        state.events.append(connection, "volume", "destroy", name, owner, {"driver": "local"})

    await state.store.write("volume_remove.record", write)
    state.operations.spawn("trash", lambda: state.files.run(state.layers.empty_trash))


def _message(state: State, row: VolumeRow) -> pb.Volume:
    volume = pb.Volume(
        name=row.name, owner=types_pb2.Owner(manager=row.manager, namespace=row.namespace, id=row.owner_id),
        driver="local", options=json.loads(row.options), labels=json.loads(row.labels),
        path=bytes(_home(state, row.namespace, row.name) / "_data"),
    )
    place = row.place
    if isinstance(place, FileSystem):
        volume.mount.CopyFrom(_mount_of(place, volume.path))
        volume.created_at.FromNanoseconds(row.created_ns)
        return volume
    volume.mount.CopyFrom(types_pb2.MountSpec(
        type="bind", source=os.fsencode(place.path) if place else volume.path, recursive=not place or place.recursive))
    if place and place.read_only:
        volume.mount.options.add(key="ro")
    volume.created_at.FromNanoseconds(row.created_ns)
    return volume


def _mount_of(place: FileSystem, path: bytes) -> types_pb2.MountSpec:
    """A tmpfs is named by the volume's directory: all containers that have it have one together."""
    return types_pb2.MountSpec(
        type=place.type, source=path if place.type == "tmpfs" else os.fsencode(place.source),
        options=[types_pb2.MountOption(key=key, value=value.encode()) for key, value in place.options])
