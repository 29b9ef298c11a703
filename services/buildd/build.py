"""One build: what is asked for, and what its stages share."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from buildd import records, snapshots
from buildd.config import Config, Document, Step
from buildd.context import Context
from buildd.dockerfile.rules import Options
from buildd.hashes import Hashes
from buildd.progress import Progress
from buildd.records import Record
from buildd.running import Surroundings
from buildd.snapshots import Ground
from buildd.state import State
from buildd.steps import Rules
from buildd.uplink import Uplink
from pier.build.v1 import build_pb2 as pb
from pier.image.v1 import image_pb2


@dataclass(frozen=True)
class Image:
    """What a stage comes to: files, and the configuration with the history. ``base_id`` is the id of the image that it
    is, unchanged; "" where it is another. ``created_ns`` is the time of its latest step, 0 where it has none."""

    ground: Ground
    document: Document
    base_id: str = ""
    created_ns: int = 0

    @property
    def config(self) -> Config:
        return self.document.config or Config()

    @property
    def history(self) -> list[Step]:
        return list(self.document.history or ())


@dataclass(frozen=True)
class CacheImage:
    """An image that the client names as a cache. ``chains`` are the chain ids of its layers, bottom first."""

    chains: tuple[str, ...]
    history: tuple[Step, ...]


@dataclass
class Build:
    """``platform`` is what is built for; ``stack`` closes at its end what its steps have opened; ``checks`` says which
    build checks count. ``here`` are images that were asked for already, each for whoever needs it first."""

    state: State
    options: pb.BuildOptions
    progress: Progress
    uplink: Uplink
    context: Context
    platform: image_pb2.Platform
    rules: Rules
    turns: asyncio.Semaphore
    around: Surroundings
    stack: AsyncExitStack
    hashes: Hashes
    here: dict[str, image_pb2.Image] = field(default_factory=dict)
    checks: Options = field(default_factory=Options)
    cache_images: list[CacheImage] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    configured: dict[str, Record] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return self.options.namespace

    def rules_of(self, stage: str) -> Rules:
        """``stage`` by its name."""
        if stage in self.options.no_cache_stages:
            return Rules(True, self.rules.clamp_ns)
        return self.rules

    def place(self, stage: str, number: int) -> str:
        """Where a step stands: the same place of the same Dockerfile as far as anybody can tell."""
        first = next(iter(self.options.tags), "")
        words = [self.namespace, first, self.options.dockerfile, self.options.remote, stage, str(number)]
        return hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()[:32]

    def clamped(self, nanoseconds: int) -> int:
        """A time that goes into the image."""
        clamp = self.rules.clamp_ns
        return nanoseconds if clamp is None else min(nanoseconds, clamp)

    def hold(self, keys: Iterable[str]) -> None:
        """These records are used: none of them is taken away before the build's end."""
        for key in keys:
            if key not in self.used:
                self.used.add(key)
                self.state.in_use[key] += 1

    def _release(self) -> None:
        state = self.state
        state.in_use.subtract(self.used)
        for key in self.used:
            if not state.in_use[key]:
                del state.in_use[key]
                for name in state.discarded.pop(key, ()):
                    state.see_to(f"drop:{name}", partial(snapshots.drop, state, name))

    @asynccontextmanager
    async def bookkeeping(self) -> AsyncIterator[None]:
        """What was used, and what changed the configuration alone, is written down at the end, in one transaction."""
        try:
            yield
        finally:
            self._release()
            used, configured = sorted(self.used), list(self.configured.values())
            if used or configured:
                self.state.operations.spawn("bookkeeping", lambda: self.state.store.write(
                    "build.used", lambda connection: _write(connection, used, configured)))


def _write(connection: sqlite3.Connection, used: list[str], configured: list[Record]) -> None:
    for record in configured:
        records.put(connection, record)
    records.use(connection, used)
