"""``pier system fsck``: every service compares what it remembers with what is there; the findings together."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from chassis.client import Peer
from chassis.errors import PierError
from chassis.instance import Instance
from pier.system.v1 import system_pb2
from pier_cli.out import safe
from pier_cli.system.services import FSCK_TIMEOUT, ask, system_stub
from pier_cli.tabwriter import align


async def run(engine: Instance, arguments: argparse.Namespace) -> int:
    """1 where something was found and not repaired, or a service did not answer."""
    request = system_pb2.FsckRequest(repair=arguments.repair)

    async def question(peer: Peer) -> Any:
        return await peer.call(system_stub(peer).Fsck, request, timeout=FSCK_TIMEOUT)

    lines: list[str] = []
    left = 0
    for service, answer in (await ask(engine, question)).items():
        if isinstance(answer, PierError):
            if answer.reason == "STATELESS":
                continue
            print(f"{service}: {answer.message}", file=sys.stderr)
            left += 1
            continue
        for finding in answer.findings:
            left += not finding.repaired
            state = "repaired" if finding.repaired else "open"
            cells = (service, finding.reason, state, finding.subject, finding.message)
            lines.append("\t".join(map(safe, cells)))
    if lines:
        print(align("\n".join(["SERVICE\tREASON\tSTATE\tSUBJECT\tMESSAGE", *lines])))
    elif not left:
        print("nothing found")
    return 1 if left else 0
