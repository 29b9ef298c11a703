"""The coordinator: verbs by container, one at a time for each container, owned by the process and not by the caller.

Each verb runs as an operation under the container's lock: a client that goes away cancels nothing, two verbs on one
container follow one another, and containers never wait for one another. The trace of each verb is kept with the
container for ``pier explain``. Reads take no lock.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from chassis import stages
from chassis.errors import AlreadyExists, PierError
from chassis.logs import logger
from chassis.operations import Operations
from coordinator import generated_names, names, networks
from coordinator.commit import NewImage, commit, is_frozen, thaw
from coordinator.create import Created, NewContainer, create
from coordinator.remove import remove
from coordinator.services import Services
from coordinator.start import drop_sandbox, start
from coordinator.tell import tell
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2
from pier.network.v1 import network_pb2

T = TypeVar("T")

_STOP_MARGIN: Final = 30.0
_KILL_TIMEOUT: Final = 60.0
_NO_LIMIT: Final = 365 * 86400.0
_NAMES_TRIED: Final = 6
_SERVERS_FAULT: Final = 500
"""From this HTTP status on an error is not the caller's: a service was away, or too slow."""
_HALF_DONE: Final = (
    exec_pb2.CONTAINER_STATE_CREATING, exec_pb2.CONTAINER_STATE_REMOVING, exec_pb2.CONTAINER_STATE_DEAD
)


class Coordinator:
    """The verbs of one manager. ``close`` waits for what runs."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.operations = Operations()
        self._locks: dict[str, _Lock] = {}
        self._calls = itertools.count()

    async def create(self, new: NewContainer) -> Created:
        """Where ``new`` has no name one is made up, and another one where that is taken."""
        for attempt in range(_NAMES_TRIED):
            named = new if new.name else replace(new, name=generated_names.generate(attempt))
            try:
                return await self._run("create", new.id, partial(create, self.services, named))
            except AlreadyExists as error:
                if new.name or error.reason != "NAME_TAKEN" or attempt + 1 == _NAMES_TRIED:
                    raise
        raise AssertionError("the loop returns or raises")

    async def start(
        self, id_: str, known: exec_pb2.Container | None = None, secret_env: Sequence[bytes] = ()
    ) -> exec_pb2.Container:
        """Start container ``id_`` (a full id). Where that fails, one that was made to be removed is.

        ``known`` is the container as the caller read it just now: it holds unless another verb is at work on it.
        ``secret_env`` ("NAME=value") is its process's, and written down nowhere.
        """
        if id_ in self._locks:
            known = None

        async def work() -> exec_pb2.Container:
            container = known or await self.get(id_)
            try:
                return await start(self.services, container, secret_env)
            except PierError:
                if container.spec.auto_remove and not is_alive(container):
                    await self._remove_unstarted(id_)
                raise

        return await self._run("start", id_, work)

    async def _remove_unstarted(self, id_: str) -> None:
        """Before its start's failure is told: who waits for its removal waits for this one, for it never runs."""
        try:
            await remove(self.services, id_, force=True, with_volumes=True)
        except PierError:
            self.operations.spawn(f"settle:{id_}", lambda: self.remove(id_, force=True))

    async def stop(self, id_: str, *, seconds: int | None = None, signal: str = "") -> None:
        """Stop it and release its network. NotModified where it does not run."""
        await self._run("stop", id_, lambda: self._stop(id_, seconds, signal))

    async def restart(self, id_: str, *, seconds: int | None = None, signal: str = "") -> None:
        """Stop it if it runs, and start it."""

        async def work() -> None:
            container = await self.get(id_)
            if is_alive(container):
                await self._stop(id_, seconds, signal)
                container = await self.get(id_)
            await start(self.services, container)
            await tell(self.services, id_, "restart")

        await self._run("restart", id_, work)

    async def kill(self, id_: str, signal: str = "") -> None:
        """Send it a signal, KILL where none is named. Conflict (NOT_RUNNING). It waits for no other verb."""
        await self.services.execd.call(
            self.services.containers.KillContainer, exec_pb2.KillContainerRequest(id=id_, signal=signal),
            timeout=_KILL_TIMEOUT)

    async def pause(self, id_: str) -> None:
        """Freeze its processes."""
        await self.services.execd.call(
            self.services.containers.PauseContainer, exec_pb2.PauseContainerRequest(id=id_))

    async def unpause(self, id_: str) -> None:
        await self.services.execd.call(
            self.services.containers.UnpauseContainer, exec_pb2.UnpauseContainerRequest(id=id_))

    async def resize(self, id_: str, height: int, width: int, exec_id: str = "") -> None:
        """Tell the terminal of its first process, or of one of its execs, how large it is. Characters."""
        await self.services.execd.call(
            self.services.containers.ResizeTerminal,
            exec_pb2.ResizeTerminalRequest(id=id_, exec_id=exec_id, height=height, width=width))

    async def remove(self, id_: str, *, force: bool = False, with_volumes: bool = False) -> None:
        """``with_volumes``: those that were made for it alone go too."""

        async def work() -> None:
            await remove(self.services, id_, force=force, with_volumes=with_volumes)

        await self._run("remove", id_, work, keep=False)

    async def connect(self, id_: str, network: network_pb2.Network, spec: network_pb2.EndpointSpec) -> None:
        """Join it to a network, live; PermissionDenied where that cannot be."""

        async def work() -> None:
            await networks.connect(self.services, await self.get(id_), network, spec)

        await self._run("connect", id_, work)

    async def publish(
        self, id_: str, chosen: Callable[[exec_pb2.Container], Sequence[network_pb2.PublishedPort]]
    ) -> list[network_pb2.PublishedPort]:
        """Publish the ports that ``chosen`` makes of it as it is, and no others, live."""

        async def work() -> list[network_pb2.PublishedPort]:
            container = await self.get(id_)
            return await networks.publish(self.services, container, chosen(container))

        return await self._run("publish", id_, work)

    async def disconnect(self, id_: str, network: network_pb2.Network) -> None:
        """Part it from a network, live."""

        async def work() -> None:
            await networks.disconnect(self.services, await self.get(id_), network)

        await self._run("disconnect", id_, work)

    async def commit(self, id_: str, new: NewImage) -> image_pb2.Image:
        """Make an image of it."""

        async def work() -> image_pb2.Image:
            return await commit(self.services, await self.get(id_), new)

        return await self._run("commit", id_, work)

    async def thaw(self, id_: str) -> None:
        """Let it go on where a commit that died has left it paused."""

        async def work() -> None:
            if is_frozen(await self.get(id_)):
                await thaw(self.services, id_)

        await self._run("thaw", id_, work, keep=False)

    async def rename(self, id_: str, name: str) -> None:
        """Give it another name, live; AlreadyExists where another container has it."""

        async def work() -> None:
            await names.rename(self.services, await self.get(id_), name)

        await self._run("rename", id_, work)

    async def settle(self, id_: str) -> bool:
        """Bring a container that no verb is working on to where its state says it belongs; True where that took work.

        One that ended by itself is removed where it was made to be, else its network is released; what a dead
        coordinator left half made or half removed is removed. One that runs, or waits for its restart policy, is left.
        """

        async def work() -> bool:
            container = await self.get(id_)
            state = container.status.state
            if is_alive(container):
                return False
            ended = state == exec_pb2.CONTAINER_STATE_EXITED
            if state in _HALF_DONE or (ended and container.spec.auto_remove):
                half_made = state == exec_pb2.CONTAINER_STATE_CREATING
                await remove(self.services, id_, force=True, with_volumes=half_made)
            else:
                await drop_sandbox(self.services, id_)
            return True

        return await self._run("settle", id_, work, keep=False)

    async def get(self, name: str, *, deadline: float = 5.0) -> exec_pb2.Container:
        """The container by id, name or unique prefix. NotFound, or InvalidArgument for an ambiguous prefix."""
        answer: exec_pb2.GetContainerResponse = await self.services.execd.call(
            self.services.containers.GetContainer,
            exec_pb2.GetContainerRequest(namespace=self.services.namespace, container=name),
            timeout=deadline,
        )
        return answer.container

    def is_busy(self, id_: str) -> bool:
        """A verb on container ``id_`` is being carried out: the reconciler keeps away."""
        return id_ in self._locks

    async def _stop(self, id_: str, seconds: int | None, signal: str) -> None:
        container = await self.get(id_)
        limit = seconds if seconds is not None else (
            container.spec.stop_timeout if container.spec.HasField("stop_timeout") else 10
        )
        await self.services.execd.call(
            self.services.containers.StopContainer,
            exec_pb2.StopContainerRequest(id=id_, timeout=seconds, signal=signal),
            timeout=_NO_LIMIT if limit < 0 else limit + _STOP_MARGIN,
        )
        if not container.spec.auto_remove:  # else `settle` removes it, network and all
            await drop_sandbox(self.services, id_)

    async def _run(self, verb: str, id_: str, work: Callable[[], Awaitable[T]], *, keep: bool = True) -> T:
        roots: list[stages.Node] = []

        async def operation() -> T:
            async with _Turn(self._locks, id_):
                with stages.trace(verb, container=id_) as root:
                    roots.append(root)
                    try:
                        return await work()
                    except PierError as error:
                        if error.http_status >= _SERVERS_FAULT:
                            self.services.unsettled.set()
                        raise
                    except ExceptionGroup:
                        self.services.unsettled.set()
                        raise
                    finally:
                        if keep:
                            self._keep_trace_later(id_, root)

        # A key of its own for each call: a repeated verb waits for its turn and answers as Docker's would.
        try:
            return await self.operations.run(f"{verb}:{id_}:{next(self._calls)}", b"", operation)
        finally:
            for root in roots:
                if root.duration_ns:  # else the caller goes before the verb has ended
                    stages.graft(root.to_span())

    def _keep_trace_later(self, id_: str, root: stages.Node) -> None:
        async def keep() -> None:
            request = exec_pb2.RecordTraceRequest(id=id_, root=root.to_span())
            try:
                await self.services.execd.call(self.services.containers.RecordTrace, request, timeout=5)
            except PierError as error:
                logger().debug("trace not kept", container=id_, reason=error.reason)

        self.operations.spawn(f"trace:{id_}", keep)

    async def close(self) -> None:
        await self.operations.close()


def is_alive(container: exec_pb2.Container) -> bool:
    """It has a process, or is about to have one again by its restart policy."""
    return container.status.state in (
        exec_pb2.CONTAINER_STATE_RUNNING, exec_pb2.CONTAINER_STATE_PAUSED, exec_pb2.CONTAINER_STATE_RESTARTING
    )


class _Lock:
    """A container's lock, and how many hold it or wait for it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class _Turn:
    """``async with``: this container's turn; the lock is forgotten with its last user."""

    def __init__(self, locks: dict[str, _Lock], id_: str) -> None:
        self._locks = locks
        self._id = id_
        self._entry = locks.setdefault(id_, _Lock())
        self._entry.users += 1

    async def __aenter__(self) -> None:
        try:
            await self._entry.lock.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._entry.lock.release()
        self._leave()

    def _leave(self) -> None:
        self._entry.users -= 1
        if not self._entry.users:
            del self._locks[self._id]
