"""``pier system config show``: the settings that each service runs with, and where each came from."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from chassis.client import Peer
from chassis.errors import PierError
from chassis.instance import Instance
from pier.system.v1 import system_pb2
from pier_cli.out import safe
from pier_cli.system.services import STATUS_TIMEOUT, ask, system_stub
from pier_cli.tabwriter import align


async def _question(peer: Peer) -> Any:
    return await peer.call(system_stub(peer).Config, system_pb2.ConfigRequest(), timeout=STATUS_TIMEOUT)


async def run(engine: Instance, arguments: argparse.Namespace) -> int:
    """1 where a service did not answer."""
    lines = ["SERVICE\tKEY\tVALUE\tSOURCE"]
    code = 0
    for service, answer in (await ask(engine, _question)).items():
        if isinstance(answer, PierError):
            print(f"{service}: {answer.message}", file=sys.stderr)
            code = 1
            continue
        lines += ["\t".join(map(safe, (service, item.key, item.value, item.source))) for item in answer.values]
    print(align("\n".join(lines)))
    return code
