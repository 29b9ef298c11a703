"""The plan that travels with a container's record: how it is joined to networks, which volumes are its."""

from __future__ import annotations

from typing import Final

from chassis.errors import InvalidArgument
from pier.engine.v1 import engine_pb2
from pier.exec.v1 import exec_pb2

PLAN: Final = "pier.engine.v1.plan"
"""Extension key of the ContainerPlan."""


def plan_of(container: exec_pb2.Container) -> engine_pb2.ContainerPlan:
    """The plan kept with the record. InvalidArgument for a container that another manager made without one."""
    plan = engine_pb2.ContainerPlan()
    if PLAN not in container.extensions or not container.extensions[PLAN].Unpack(plan):
        raise InvalidArgument(f"container {container.id} has no network plan", reason="NO_PLAN", field="extensions")
    return plan
