"""Files of snapshots: hashed, copied from one into another, directories made; done by the program of imaged.files.

A change is made in a copy of the snapshot's upper directory, of which every file is a link, and the copy then takes the
original's place by one rename: all of it or nothing, also when somebody is killed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from chassis import modes, programs
from chassis.errors import InvalidArgument
from chassis.ids import key as check_key
from chassis.stages import stage
from imaged import snapshots
from imaged.catalog import SnapshotRow
from imaged.state import State
from imaged.unbroken import unbroken
from pier.image.v1 import image_pb2 as pb


async def digest(state: State, request: pb.HashRequest) -> pb.HashResponse:
    """NotFound (NO_SNAPSHOT, NO_SUCH_FILE), InvalidArgument (BAD_PATTERN)."""
    row = await snapshots.need(state, request.files.snapshot, "files.snapshot")
    async with stage("hash.files", key=row.key):
        result = await _run(state, {
            "verb": "hash", "source": await _source(state, row), "target": None, "files": _files(request.files),
            "parents": request.parents})
    await snapshots.need(state, row.key, "files.snapshot")
    return pb.HashResponse(digest=result["digest"], found=[os.fsencode(path) for path in result["found"]])


async def copy(state: State, request: pb.CopyFilesRequest) -> pb.CopyFilesResponse:
    """As ``digest``, and InvalidArgument (READ_ONLY, BAD_TARGET, OTHER_KIND, NO_SUCH_USER, …), ResourceExhausted."""
    key = check_key(request.key)
    source = await snapshots.need(state, request.files.snapshot, "files.snapshot")
    _check_absolute(request.target, "target")
    mode = _mode(request)
    if request.keep_owners and request.chown:
        raise InvalidArgument("chown: nothing may be given beside keep_owners", reason="BAD_OWNER", field="chown",
                              expected="one of the two")
    settings = state.settings

    async def work() -> pb.CopyFilesResponse:
        result = await change(state, "copy", key, {
            "source": await _source(state, source), "files": _files(request.files), "parents": request.parents,
            "path": os.fsdecode(request.target), "chown": request.chown, "unpack": request.unpack,
            "chmod": mode, "link": request.link,
            "keep_owners": request.keep_owners,
            "reserve": settings.disk_reserve_bytes,
            "caps": [settings.layer_max_bytes, settings.layer_max_ratio], "limits": [1 << 20, 1 << 43,
                                                                                       settings.layer_max_entries],
        })
        await snapshots.need(state, source.key, "files.snapshot")
        return pb.CopyFilesResponse(files=result["files"], bytes=result["bytes"])

    return await state.operations.run(_operation("copy", request), b"", work)


def _mode(request: pb.CopyFilesRequest) -> str:
    """What chmod(1) is told, "" for nothing."""
    text = f"{request.chmod:o}" if request.HasField("chmod") else request.mode_change
    if request.HasField("chmod") and request.mode_change:
        raise InvalidArgument("chmod: nothing may be given beside mode_change", reason="BAD_MODE", field="chmod",
                              expected="one of the two")
    if text:
        modes.parse(text)
    return text


async def make_directory(state: State, request: pb.MakeDirectoryRequest) -> pb.MakeDirectoryResponse:
    """InvalidArgument (READ_ONLY, OTHER_KIND, NO_SUCH_USER, …), NotFound (NO_SNAPSHOT)."""
    key = check_key(request.key)
    _check_absolute(request.path, "path")

    async def work() -> pb.MakeDirectoryResponse:
        result = await change(state, "mkdir", key, {
            "source": None, "path": os.fsdecode(request.path), "chown": request.chown})
        return pb.MakeDirectoryResponse(made=result["made"])

    return await state.operations.run(_operation("mkdir", request), b"", work)


def _operation(verb: str, request: pb.CopyFilesRequest | pb.MakeDirectoryRequest) -> str:
    """The same request joins the one that runs; another waits for the snapshot."""
    return f"{verb}:{hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()}"


async def change(state: State, verb: str, key: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Let the program change a writable snapshot that nothing has mounted; its result."""
    async with state.locks.hold(f"snapshot:{key}"):
        row = await writable(state, key)
        async with stage(f"{verb}.directories", key=key):
            await state.files.run(state.rootfs.begin_change, key)
        try:
            async with stage(f"{verb}.files", key=key):
                result = await _run(state, {
                    **request, "verb": verb, "target": {
                        "home": str(state.rootfs.upper(key).parent), "layers": await _layers(state, row)}})
            async with stage(f"{verb}.rename", key=key):
                await unbroken(state.files.run(state.rootfs.end_change, key))
        finally:
            await unbroken(state.files.run(state.rootfs.drop_change, key))
    state.operations.spawn("trash", lambda: state.files.run(state.layers.empty_trash))
    return result


async def writable(state: State, key: str) -> SnapshotRow:
    """The record of a snapshot that can be written. NotFound (NO_SNAPSHOT), InvalidArgument (READ_ONLY)."""
    row = await snapshots.need(state, key)
    if not row.writable:
        raise InvalidArgument(f"snapshot {key} is not writable", reason="READ_ONLY", field="key",
                              expected="a writable snapshot")
    return row


async def _layers(state: State, row: SnapshotRow) -> list[str]:
    return [str(path) for path in await snapshots.layers(state, row)]


async def _source(state: State, row: SnapshotRow) -> dict[str, Any]:
    """What a snapshot shows: what it has changed, upon its layers."""
    upper = [str(state.rootfs.upper(row.key))] if row.writable else []
    return {"layers": [*upper, *await _layers(state, row)]}


async def _run(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    whole = {
        **request, "options": state.rootfs.options, "place": str(state.volumes),
        "empty": str(state.rootfs.empty)}
    async with state.helpers.running("files", whole) as process:
        told = await process.stdout.read()
        await programs.finished(process, str(request["verb"]))
    result: dict[str, Any] = json.loads(told)
    return result


def _files(files: pb.FileSelection) -> dict[str, Any]:
    if not files.sources:
        raise InvalidArgument("files.sources: there is none", reason="BAD_FIELD", field="files.sources",
                              expected="one path or more")
    for field, paths in (("sources", files.sources), ("exclude", files.exclude), ("ignore", files.ignore)):
        if any(b"\0" in path or not path for path in paths):
            raise InvalidArgument(f"files.{field}: one cannot be a path", reason="BAD_PATH", field=f"files.{field}")
    return {
        "sources": [os.fsdecode(source) for source in files.sources],
        "exclude": [os.fsdecode(pattern) for pattern in files.exclude], "literal": files.literal,
        "ignore": [os.fsdecode(pattern) for pattern in files.ignore],
    }


def _check_absolute(path: bytes, field: str) -> None:
    if not path.startswith(b"/") or b"\0" in path or len(path) >= 4096:
        raise InvalidArgument(f"{field}: not an absolute path", reason="BAD_PATH", field=field,
                              expected="an absolute path")
