"""Reading the configuration again while the service runs: what may change does, what may not is told by name.

Which settings may change says ``config.option(live=True)``. Whoever looks at ``Current.settings`` at each use has to do
nothing more. Who has made something of a setting *follows*: ``follow(prepare)``, where ``prepare(settings)`` makes it
anew and returns what puts it in the old one's place. All are prepared before any is put into effect, so that a setting
that one cannot take (InvalidArgument) changes nothing.

Example: ``reload.follow(lambda settings: partial(networks.change_pools, pools_of(settings)))``.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

from chassis import config
from chassis.config import Current, Loaded, S, Value
from chassis.stages import stage

Prepare = Callable[[S], Callable[[], None]]
"""Judges new settings (InvalidArgument), and returns what lets them count, which cannot fail."""


@dataclass(frozen=True)
class Reloaded:
    """``changed`` counts now; ``needs_restart`` are keys with another value than the service runs with."""

    changed: tuple[Value, ...]
    needs_restart: tuple[str, ...]


class Reload(Generic[S]):
    """The configuration of a running service. ``current`` are the settings that count, ``values`` shows them."""

    def __init__(self, load: Callable[[], Loaded[S]], loaded: Loaded[S]) -> None:
        """``loaded`` is what ``load`` has given at the start."""
        self._load = load
        self._followers: list[Prepare[S]] = []
        self._turn = asyncio.Lock()
        self.current = Current(loaded.settings)
        self.values = loaded.values
        self.live = config.live(type(loaded.settings))

    def follow(self, prepare: Prepare[S]) -> None:
        """Have ``prepare`` asked at each reload, in the order of the calls."""
        self._followers.append(prepare)

    async def again(self) -> Reloaded:
        """Read all sources anew. InvalidArgument: nothing has changed. One after the other: each call reads what was
        written before it."""
        async with self._turn:
            async with stage("reload.read"):
                wanted = await asyncio.to_thread(self._load)
            async with stage("reload.apply"):
                return self._apply(wanted)

    def _apply(self, wanted: Loaded[S]) -> Reloaded:
        old = self.current.settings
        differing = [
            item.name for item in dataclasses.fields(old)
            if getattr(old, item.name) != getattr(wanted.settings, item.name)
        ]
        fixed = tuple(name for name in differing if name not in self.live)
        new = dataclasses.replace(
            old, **{name: getattr(wanted.settings, name) for name in differing if name in self.live})
        prepared = [prepare(new) for prepare in self._followers]
        for put_into_effect in prepared:
            put_into_effect()
        self.current.settings = new
        before = {value.key: value for value in self.values}
        self.values = tuple(before[value.key] if value.key in fixed else value for value in wanted.values)
        return Reloaded(
            tuple(value for value in self.values if value.key in differing and value.key not in fixed), fixed)
