"""One layer: from a growing blob into a directory. Runs in a forked process of its own, and ends it."""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from chassis import kernel, trees
from chassis.compression import Caps, Decompressor
from chassis.errors import Aborted, DataLoss, Internal, PierError, ResourceExhausted
from chassis.tar import Limits, Reader
from chassis.tar.extract import Extractor, Rules
from imaged.unpack import jail

FEED: Final = struct.Struct("<QB")
_PIECE: Final = 1 << 20


@dataclass(frozen=True)
class Job:
    """The bounds of one unpacking: see ``Caps``, ``Limits`` and ``Extractor``. ``momentary``: the bytes come over a
    stream and not from a growing file, may be bzip2 and xz, too, and are not digested; what is made of them is not made
    durable. ``plain``: the tar is no layer."""

    caps: Caps
    limits: Limits
    reserve: int
    momentary: bool = False
    plain: bool = False

    def encode(self) -> bytes:
        return json.dumps([
            [self.caps.output, self.caps.ratio, self.caps.ratio_free],
            [self.limits.extended, self.limits.entry_bytes, self.limits.entries], self.reserve,
            self.momentary, self.plain,
        ]).encode()

    @classmethod
    def decode(cls, raw: bytes) -> Job:
        caps, limits, reserve, momentary, plain = json.loads(raw)
        return cls(Caps(*caps), Limits(*limits), reserve, momentary, plain)


@dataclass(frozen=True)
class Unpacked:
    """What a layer became. ``size`` is the sum of its files' sizes in bytes, ``compression`` gzip, zstd or none;
    ``diff_id`` is "" where nothing was digested."""

    diff_id: str
    compression: str
    tar_size: int
    size: int
    entries: int
    xattrs_dropped: int
    opaque_root: bool
    whiteouts: int


def run(job: Job, channel: socket.socket, blob: int, directory: int) -> None:
    """Unpack and tell the outcome on ``channel``. Every outcome is told; nothing is raised."""
    try:
        root = jail.enter(directory)
        outcome: dict[str, object] = {"result": _unpack(job, channel, blob, root).__dict__}
    except PierError as error:
        outcome = {"error": [error.grpc_code, error.reason, error.message]}
    except OSError as error:
        found = _of_os(error)
        outcome = {"error": [found.grpc_code, found.reason, found.message]}
    except MemoryError:
        outcome = {"error": [ResourceExhausted.grpc_code, "NO_MEMORY", "unpack: the layer needs too much memory"]}
    except Exception as error:  # noqa: BLE001 - the process ends here, and who waits must learn why
        outcome = {"error": [Internal.grpc_code, "", f"unpack: {type(error).__name__}: {error}"]}
    try:
        channel.send(json.dumps(outcome).encode())
        # Ending with messages unread would reset the connection, and the outcome with it (unix(7)).
        while channel.recv(64):
            pass
    except OSError:
        pass  # nobody waits any more


def _of_os(error: OSError) -> PierError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceExhausted("no space left on device", reason="NO_SPACE")
    if error.errno == errno.EPIPE:
        return Aborted("unpack: nobody waits for it any more")
    return Internal(f"unpack: {error}")


def _unpack(job: Job, channel: socket.socket, blob: int, root: int) -> Unpacked:
    chunks = _poured(blob) if job.momentary else _follow(channel, blob)
    decompressor = Decompressor(chunks, job.caps, every_kind=job.momentary, hashed=not job.momentary)
    reader = Reader(iter(decompressor), job.limits)
    extracted = Extractor(root, job.reserve, Rules(whiteouts=not job.plain)).run(reader)
    # The digest covers what stands behind the archive's end as well, and a stream's other end is not to be cut off.
    reader.drain()
    if not job.momentary:
        kernel.syncfs(root)
    size = trees.content(root, b".") if extracted.replaced else extracted.size
    return Unpacked(
        diff_id="" if job.momentary else decompressor.diff_id, compression=decompressor.name,
        tar_size=decompressor.total, size=size, entries=extracted.entries, xattrs_dropped=extracted.xattrs_dropped,
        opaque_root=extracted.opaque_root, whiteouts=extracted.whiteouts,
    )


def _poured(stream: int) -> Iterator[bytes]:
    """What comes until the other end is closed; whoever closed it knows whether that was all."""
    while part := os.read(stream, _PIECE):
        yield part


def _follow(channel: socket.socket, blob: int) -> Iterator[bytes]:
    """The blob's bytes as they come to be there; tells how far it has read."""
    position = there = 0
    whole = False
    while True:
        while position == there:
            if whole:
                return
            message = channel.recv(64)
            if not message:
                raise Aborted("unpack: it was called off")
            there, whole = FEED.unpack(message)
        part = os.pread(blob, min(_PIECE, there - position), position)
        if not part:
            raise DataLoss("unpack: the blob is shorter than was said")
        position += len(part)
        yield part
        channel.send(json.dumps({"progress": position}).encode())
