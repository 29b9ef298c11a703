"""What buildd's modules share: its peers, its store, and who is at work on what."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from buildd.settings import BuilddSettings
from chassis.blocking import Pool
from chassis.config import Current
from chassis.errors import NotFound, PierError
from chassis.instance import Instance
from chassis.locks import NamedLocks
from chassis.logs import logger
from chassis.operations import Operations
from chassis.store import Store
from coordinator.coordinator import Coordinator
from coordinator.services import Services

NAMESPACE: Final = "build"
"""Of the containers of builds in execd: no list of a client's shows them."""
_PAUSE: Final = 0.2
_LONGEST: Final = 10.0
"""Seconds until what could not be taken away is tried again: the first pause, doubled up to the last."""


@dataclass(frozen=True)
class State:
    """One per process. ``directory`` is for temporary files, ``secrets`` is a directory on a tmpfs.

    ``in_use`` counts the running builds that use a record, by its key; ``doubtful`` are the keys of steps that were
    broken off where imaged may have committed them; ``discarded`` has the snapshots that records do not name any more
    and running builds may stand on, by the records' keys; ``taken`` are the cache mounts that one command has for
    itself; ``busy`` words for the running builds. ``swept``: what an earlier life has left is gone.
    """

    instance: Instance
    current: Current[BuilddSettings]
    services: Services
    coordinator: Coordinator
    store: Store
    operations: Operations
    files: Pool
    directory: Path
    secrets: Path
    locks: NamedLocks = field(default_factory=NamedLocks)
    in_use: Counter[str] = field(default_factory=Counter)
    doubtful: set[str] = field(default_factory=set)
    discarded: dict[str, list[str]] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    busy: set[str] = field(default_factory=set)
    swept: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def settings(self) -> BuilddSettings:
        return self.current.settings

    def see_to(self, name: str, action: Callable[[], Awaitable[object]]) -> None:
        """Have ``action`` done, whatever becomes of the build, as often as it takes: its peer may be away. NotFound is
        done."""

        async def persist() -> None:
            pause = _PAUSE
            while True:
                try:
                    await action()
                    return
                except NotFound:
                    return
                except (PierError, ExceptionGroup) as error:
                    logger().info("tried again later", what=name, error=str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST)

        self.operations.spawn(name, persist)
