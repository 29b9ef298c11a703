"""``pier system status``: each service with its version, uptime and health, whatever the others do."""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import time
from dataclasses import asdict, dataclass

from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.client import Peer
from chassis.errors import PierError
from chassis.instance import Instance
from pier.system.v1 import system_pb2
from pier_cli.system.services import STATUS_TIMEOUT, ask, system_stub
from pier_cli.tabwriter import align


@dataclass(frozen=True)
class Row:
    """``uptime`` in seconds, -1 where unknown; ``health``: serving, not serving, dead or hung."""

    service: str
    version: str
    pid: int
    uptime: float
    health: str


async def _question(peer: Peer) -> Row:
    health_stub = health_pb2_grpc.HealthStub(peer.channel)
    info, health = await asyncio.gather(
        peer.call(system_stub(peer).Info, system_pb2.InfoRequest(), timeout=STATUS_TIMEOUT),
        peer.call(health_stub.Check, health_pb2.HealthCheckRequest(), timeout=STATUS_TIMEOUT),
    )
    serving = health.status == health_pb2.HealthCheckResponse.SERVING
    started = info.started_at.seconds + info.started_at.nanos / 1e9
    return Row(peer.name, info.version, info.pid, time.time() - started, "serving" if serving else "not serving")


def _row(engine: Instance, service: str, answer: Row | PierError) -> Row:
    if isinstance(answer, Row):
        return answer
    return Row(service, "", 0, -1.0, "hung" if _listens(str(engine.socket(service))) else "dead")


def _listens(path: str) -> bool:
    """Whether a process holds the socket. gRPC says the same of one that is stopped as of one that is gone; the kernel
    takes connections for a stopped process until its queue is full."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True


def uptime(seconds: float) -> str:
    """``3d 4h``, ``5m 12s``: the two largest units."""
    if seconds < 0:
        return "-"
    whole = int(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    first = next((index for index, (number, _) in enumerate(parts) if number), 3)
    return " ".join(f"{number}{unit}" for number, unit in parts[first: first + 2])


def table(rows: list[Row]) -> str:
    lines = ["SERVICE\tVERSION\tPID\tUPTIME\tHEALTH"]
    lines += [
        f"{row.service}\t{row.version or '-'}\t{row.pid or '-'}\t{uptime(row.uptime)}\t{row.health}" for row in rows
    ]
    return align("\n".join(lines) + "\n")


async def run(engine: Instance, arguments: argparse.Namespace) -> int:
    """1 where any service does not serve."""
    answers = await ask(engine, _question)
    rows = [_row(engine, service, answer) for service, answer in answers.items()]
    print(json.dumps([asdict(row) for row in rows]) if arguments.json else table(rows).rstrip("\n"))
    return 0 if all(row.health == "serving" for row in rows) else 1
