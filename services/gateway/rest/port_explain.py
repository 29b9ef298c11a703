"""Pier's own: GET /containers/{name}/ports/explain?port=80/tcp, which rule would decide a packet to a published port.

The answer is a list, an entry for each binding of the port:
`{"HostIp", "HostPort", "Verdict": "accept" | "drop" | "reject" | "depends", "DecidedBy": index in Steps or -1,
"LeadsTo", "LeadsElsewhere", "Steps": [{"Family", "Table", "Chain", "Hook", "Priority", "Handle", "Rule", "Verdict",
"Certain", "Ours"}]}`.
"""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from chassis.errors import Conflict, NotFound
from coordinator.plans import plan_of
from gateway.rest.call import Call
from gateway.rest.find import find_container
from gateway.rest.port_settings import parse_port
from gateway.rest.routes import Routes
from pier.network.v1 import network_pb2

routes: Final = Routes()


@routes.get("/containers/{name}/ports/explain")
async def explain(call: Call) -> web.StreamResponse:
    """200; 404 for a port that is not published; 409 for a container that does not run."""
    container = await find_container(call, call.path["name"])
    number, protocol = parse_port(call.query.text("port"), "port")
    mode = plan_of(container).network_mode
    services = call.engine.services
    try:
        answer: network_pb2.ExplainPortResponse = await services.netd.call(
            services.networks.ExplainPort,
            network_pb2.ExplainPortRequest(
                sandbox_id=mode.partition(":")[2] if mode.startswith("container:") else container.id,
                container_port=number, protocol=protocol,
            ),
        )
    except NotFound as error:
        if error.reason == "NO_PORT":
            raise
        raise Conflict(f"container {container.name} is not running", reason="NOT_RUNNING") from error
    return call.json([_shown(each) for each in answer.explanations])


def _shown(explanation: network_pb2.PortExplanation) -> dict[str, Any]:
    port = explanation.port
    return {
        "HostIp": port.host_ip, "HostPort": str(port.host_port or ""), "Verdict": explanation.verdict,
        "DecidedBy": explanation.decided_by, "LeadsTo": explanation.leads_to,
        "LeadsElsewhere": explanation.leads_elsewhere,
        "Steps": [
            {
                "Family": step.family, "Table": step.table, "Chain": step.chain, "Hook": step.hook,
                "Priority": step.priority, "Handle": step.handle, "Rule": step.rule, "Verdict": step.verdict,
                "Certain": step.certain, "Ours": step.ours,
            }
            for step in explanation.steps
        ],
    }
