"""All containers as execd has them, kept so that only what has changed is asked for.

A list is asked of execd each time, with the place where the copy here stands: with nothing changed that costs one empty
message, whatever the number of containers. The copy is no fact of the gateway's: another process of execd's, or too
much that has changed, and the whole list is read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

from chassis.errors import DeadlineExceeded
from coordinator.services import NAMESPACE, Services
from pier.exec.v1 import exec_pb2

_LIST: Final = "list of containers"

T = TypeVar("T")


class Containers:
    """Docker's containers, of every state."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._turn = asyncio.Lock()
        self._position = ""
        self._by_id: dict[str, exec_pb2.Container] = {}
        self._sorted: list[exec_pb2.Container] = []
        self._made: dict[str, tuple[exec_pb2.Container, Any]] = {}

    async def now(self, deadline: float) -> list[exec_pb2.Container]:
        """Newest first, as execd has them now; not to be changed. ``deadline`` is in seconds and holds for each page.

        Unavailable, DeadlineExceeded.
        """
        try:
            async with asyncio.timeout(deadline):
                await self._turn.acquire()
        except TimeoutError:
            raise DeadlineExceeded(f"execd: no {_LIST} within {deadline} s", reason="DEADLINE") from None
        try:
            await self._follow(deadline)
        finally:
            self._turn.release()
        return self._sorted

    def made_of(self, container: exec_pb2.Container, make: Callable[[exec_pb2.Container], T]) -> T:
        """``make(container)``, made once for as long as the container stays as it is. One ``make`` for all callers."""
        kept = self._made.get(container.id)
        if kept is not None and kept[0] is container:
            found: T = kept[1]
            return found
        value = make(container)
        if self._by_id.get(container.id) is container:
            self._made[container.id] = container, value
        return value

    async def _follow(self, deadline: float) -> None:
        answer = await self._ask(deadline, changed_since=self._position)
        if answer.changes_only:
            for id_ in answer.removed:
                self._by_id.pop(id_, None)
                self._made.pop(id_, None)
            self._by_id |= {each.id: each for each in answer.containers}
            changed = bool(answer.removed or answer.containers)
        else:
            self._by_id, changed = await self._all(answer, deadline), True
            self._made.clear()
        self._position = answer.position
        if changed:
            self._sorted = sorted(self._by_id.values(), key=_newest_first)

    async def _all(self, first: exec_pb2.ListContainersResponse, deadline: float) -> dict[str, exec_pb2.Container]:
        found = {each.id: each for each in first.containers}
        token = first.next_page_token
        while token:
            page = await self._ask(deadline, page_token=token)
            found |= {each.id: each for each in page.containers}
            token = page.next_page_token
        return found

    async def _ask(
        self, deadline: float, *, changed_since: str = "", page_token: str = ""
    ) -> exec_pb2.ListContainersResponse:
        request = exec_pb2.ListContainersRequest(
            namespace=NAMESPACE, changed_since=changed_since, page_token=page_token)
        answer: exec_pb2.ListContainersResponse = await self._services.execd.call(
            self._services.containers.ListContainers, request, deadline)
        return answer


def _newest_first(container: exec_pb2.Container) -> tuple[int, str]:
    return -container.created_at.ToNanoseconds(), container.id
