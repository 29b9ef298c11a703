"""What a container is called on its networks, and its renaming."""

from __future__ import annotations

from chassis.errors import NotFound
from chassis.stages import stage
from coordinator.networks import refresh_linking
from coordinator.saga import Saga
from coordinator.services import Services
from pier.exec.v1 import exec_pb2
from pier.network.v1 import network_pb2

_SHORT = 12


def names_of(container: exec_pb2.Container, name: str = "") -> list[str]:
    """The names by which it is found on a user-defined network, aliases aside: its name (or ``name``, which it is going
    to have), the short form of its id, and its host name."""
    known = [name or container.name, container.id[:_SHORT], container.spec.hostname]
    return list(dict.fromkeys(each for each in known if each))


async def rename(services: Services, container: exec_pb2.Container, name: str) -> None:
    """Give ``container`` another name, in its networks too. AlreadyExists (NAME_TAKEN), InvalidArgument (BAD_ID)."""
    async with Saga("rename", services.unsettled) as saga:
        async with stage("rename.record", new=name):
            await _record(services, container.id, name)
        saga.undo("rename.undo_record", lambda: _record(services, container.id, container.name))
        async with stage("rename.names"):
            try:
                answer: network_pb2.SetNamesResponse = await services.netd.call(
                    services.networks.SetNames, network_pb2.SetNamesRequest(
                        sandbox_id=container.id, names=names_of(container, name)))
            except NotFound:
                return  # it does not run
        await refresh_linking(services, answer.stale_files)


async def _record(services: Services, id_: str, name: str) -> None:
    await services.execd.call(
        services.containers.RenameContainer, exec_pb2.RenameContainerRequest(id=id_, name=name))
