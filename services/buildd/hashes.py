"""Hashes of what a build copies. What the words of its steps say already is hashed before anybody needs it: meanwhile
the file is checked, and the steps before are looked up or carried out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final, Self

from buildd import snapshots
from buildd.context import Context
from buildd.dockerfile import instructions as df
from buildd.state import State
from chassis.errors import PierError
from pier.image.v1 import image_pb2 as pb

_PLAIN: Final = re.compile(r"[\w./-]+", re.ASCII)
"""Sources that no variable, quotation or wildcard is in."""
_FORESEEN: Final = 4
"""Sources of one stage that are hashed before their turn."""


class Hashes:
    """Used by ``async with``: what was begun in vain ends with the block."""

    def __init__(self, state: State, context: Context) -> None:
        self._state = state
        self._context = context
        self._begun: dict[bytes, asyncio.Task[pb.HashResponse]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._begun.values():
            task.cancel()
        await asyncio.gather(*self._begun.values(), return_exceptions=True)

    def foresee(self, stages: Iterable[Sequence[df.Instruction]]) -> None:
        """Begin to hash what the steps of ``stages`` copy from the context, as far as it can be told by now."""
        if not self._context.snapshot:
            return
        for steps in stages:
            plain = [
                (step, source) for step in steps if isinstance(step, df.Copy) and not step.from_ and not step.exclude
                for source in step.sources if _PLAIN.fullmatch(source)
            ]
            for step, source in plain[:_FORESEEN]:
                files = self.selection(step, source, self._context.snapshot)
                if (key := _key(files, step.parents)) not in self._begun:
                    self._begun[key] = asyncio.create_task(
                        snapshots.hash_of(self._state, files, parents=step.parents), name="build:hash")

    def selection(self, step: df.Copy, source: str, snapshot: str) -> pb.FileSelection:
        """What ``step`` takes from ``snapshot`` by the word ``source``."""
        return pb.FileSelection(
            snapshot=snapshot, sources=[encoded(source)], exclude=[encoded(pattern) for pattern in step.exclude],
            ignore=self._context.ignored if snapshot == self._context.snapshot else (),
        )

    async def of(self, files: pb.FileSelection, *, parents: bool) -> pb.HashResponse:
        """The hash of ``files``. NotFound (NO_SUCH_FILE)."""
        begun = self._begun.pop(_key(files, parents), None)
        if begun is not None:
            with suppress(PierError):  # it is asked again, and that answer counts
                return await begun
        return await snapshots.hash_of(self._state, files, parents=parents)


def _key(files: pb.FileSelection, parents: bool) -> bytes:
    return files.SerializeToString(deterministic=True) + bytes([parents])


def encoded(text: str) -> bytes:
    """A word of a Dockerfile as the path that it is."""
    return text.encode("utf-8", "surrogateescape")
