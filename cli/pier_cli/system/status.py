"""``pier system status``: each service with its version, uptime and health, whatever the others do."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import asdict, dataclass
from typing import Final

from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.client import Peer
from chassis.errors import PierError
from chassis.instance import Instance
from pier.system.v1 import system_pb2
from pier_cli.out import safe
from pier_cli.system import silence
from pier_cli.system.services import STATUS_TIMEOUT, ask, system_stub
from pier_cli.tabwriter import align

SERVING: Final = "serving"


@dataclass(frozen=True)
class Row:
    """``uptime`` in seconds, -1 where unknown; ``health``: serving, not serving, dead, hung or cut off (it runs, and
    its socket is gone); ``why`` it does not serve, as far as can be seen from outside, or ""."""

    service: str
    version: str
    pid: int
    uptime: float
    health: str
    why: str = ""


async def _question(peer: Peer) -> Row:
    health_stub = health_pb2_grpc.HealthStub(peer.channel)
    info, health = await asyncio.gather(
        peer.call(system_stub(peer).Info, system_pb2.InfoRequest(), timeout=STATUS_TIMEOUT),
        peer.call(health_stub.Check, health_pb2.HealthCheckRequest(), timeout=STATUS_TIMEOUT),
    )
    serving = health.status == health_pb2.HealthCheckResponse.SERVING
    started = info.started_at.seconds + info.started_at.nanos / 1e9
    return Row(peer.name, info.version, info.pid, time.time() - started, SERVING if serving else "not serving",
               "" if serving else "it is being stopped")


async def rows(engine: Instance) -> list[Row]:
    """Every service's, within two seconds, and two more where the journal does not answer."""
    answers = await ask(engine, _question)
    return await asyncio.gather(*(
        asyncio.to_thread(_row, engine, service, answer) for service, answer in answers.items()
    ))


def _row(engine: Instance, service: str, answer: Row | PierError) -> Row:
    if isinstance(answer, Row):
        return answer
    found = silence.of(engine, service)
    return Row(service, "", found.pid, -1.0, found.health, found.why)


def uptime(seconds: float) -> str:
    """``3d 4h``, ``5m 12s``: the two largest units."""
    if seconds < 0:
        return "-"
    whole = int(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    first = next((index for index, (number, _) in enumerate(parts) if number), 3)
    return " ".join(f"{number}{unit}" for number, unit in parts[first: first + 2])


def table(found: list[Row]) -> str:
    """The rows, and below them a line for each that says why it does not serve."""
    lines = ["SERVICE\tVERSION\tPID\tUPTIME\tHEALTH"]
    lines += [
        f"{row.service}\t{row.version or '-'}\t{row.pid or '-'}\t{uptime(row.uptime)}\t{row.health}" for row in found
    ]
    reasons = [f"{row.service}: {safe(row.why)}\n" for row in found if row.why]
    return align("\n".join(lines) + "\n") + "".join(reasons)


async def run(engine: Instance, arguments: argparse.Namespace) -> int:
    """1 where any service does not serve."""
    found = await rows(engine)
    print(json.dumps([asdict(row) for row in found]) if arguments.json else table(found).rstrip("\n"))
    return 0 if all(row.health == SERVING for row in found) else 1
