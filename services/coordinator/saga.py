"""A saga: steps over several services, undone in reverse order where one of them fails.

Each undo is idempotent. Undoing goes on after an error; what failed is logged and left to the reconciler, which is
woken and finds it by its owner.

Example::

    async with Saga("create", services.unsettled) as saga:
        await make_record()
        saga.undo("create.undo_record", remove_record)
        await make_snapshot()
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from chassis.errors import PierError
from chassis.logs import logger
from chassis.stages import stage

Undo = Callable[[], Awaitable[object]]


class Saga:
    """Collects undos while its body runs; carries them out if the body raises. ``unsettled`` is set where one fails."""

    def __init__(self, name: str, unsettled: asyncio.Event) -> None:
        self.name = name
        self._unsettled = unsettled
        self._undos: list[tuple[str, Undo]] = []

    def undo(self, step: str, action: Undo) -> None:
        """From here on ``action`` takes back what was done; ``step`` names its stage."""
        self._undos.append((step, action))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _cls: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if error is None:
            return
        failures = [failure for step, action in reversed(self._undos) if (failure := await _try(step, action))]
        if failures:
            self._unsettled.set()
            logger().warning(
                "undoing failed; the reconciler will finish it", saga=self.name, errors=[str(each) for each in failures]
            )


async def teardown(steps: list[tuple[str, Undo]]) -> None:
    """Carry all ``steps`` out side by side, whatever fails; then raise the one error, or an ExceptionGroup of them."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_try(step, action)) for step, action in steps]
    failures = [failure for task in tasks if (failure := task.result())]
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise ExceptionGroup("teardown", failures)


async def _try(step: str, action: Undo) -> PierError | None:
    try:
        async with stage(step):
            await action()
    except PierError as error:
        return error
    return None
