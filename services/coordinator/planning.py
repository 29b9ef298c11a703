"""A container's plan before it is made: names become ids, what is not said is filled in, contradictions are refused."""

from __future__ import annotations

from typing import Final

from chassis.errors import InvalidArgument
from chassis.ids import new_id
from coordinator.coordinator import Coordinator
from coordinator.services import NAMESPACE
from pier.engine.v1 import engine_pb2
from pier.exec.v1 import exec_pb2
from pier.network.v1 import network_pb2

DEFAULT: Final = "bridge"
_SINGLE: Final = ("host", "none")
_CONTAINER: Final = "container:"


async def resolved(coordinator: Coordinator, asked: engine_pb2.ContainerPlan) -> engine_pb2.ContainerPlan:
    """The plan by which the container is joined at each start. NotFound for a network or container that is not there;
    InvalidArgument names the field that contradicts another."""
    plan = engine_pb2.ContainerPlan()
    plan.CopyFrom(asked)
    plan.network_mode = asked.network_mode or DEFAULT
    for volume in plan.volumes:
        if not volume.name:
            volume.name, volume.anonymous = new_id(), True
    if plan.network_mode in _SINGLE or plan.network_mode.startswith(_CONTAINER):
        _check_single(plan)
        if plan.network_mode.startswith(_CONTAINER):
            other = await coordinator.get(plan.network_mode.removeprefix(_CONTAINER))
            plan.network_mode = f"{_CONTAINER}{other.id}"
        return plan
    if not plan.attachments:
        plan.attachments.add(network=plan.network_mode)
    for number, attachment in enumerate(plan.attachments):
        if attachment.ports:
            raise InvalidArgument("plan.attachments.ports: ports are the plan's own", reason="BAD_FIELD",
                                  field=f"plan.attachments[{number}].ports", expected="plan.ports")
        attachment.network = await _name(coordinator, attachment.network)
    names = [each.network for each in plan.attachments]
    if len(set(names)) < len(names):
        raise InvalidArgument("plan.attachments: a network is named twice", reason="BAD_FIELD",
                              field="plan.attachments")
    return plan


async def joined(coordinator: Coordinator, spec: exec_pb2.ContainerSpec) -> None:
    """Put ids in place of the names of containers whose namespaces ``spec`` joins. NotFound."""
    for reference in spec.namespaces:
        if reference.WhichOneof("source") == "container":
            reference.container = (await coordinator.get(reference.container)).id


def _check_single(plan: engine_pb2.ContainerPlan) -> None:
    for field in ("attachments", "ports"):
        if getattr(plan, field):
            raise InvalidArgument(f"plan.{field}: network mode {plan.network_mode} has none of its own",
                                  reason="BAD_FIELD", field=f"plan.{field}", expected="another network mode")


async def _name(coordinator: Coordinator, network: str) -> str:
    services = coordinator.services
    found: network_pb2.GetNetworkResponse = await services.netd.call(
        services.networks.GetNetwork, network_pb2.GetNetworkRequest(namespace=NAMESPACE, network=network))
    return found.network.name
