"""``pier system reload [SERVICE...]``: have the services read their configuration again."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

from chassis.client import Peer
from chassis.errors import InvalidArgument, PierError
from chassis.instance import SERVICES, Instance
from pier.system.v1 import system_pb2
from pier_cli.out import safe
from pier_cli.system.services import ask, system_stub

_TIMEOUT: Final = 10.0
"""Seconds that a service has to read its files: an event that tells of it may wait for the disk."""


async def _question(peer: Peer) -> Any:
    return await peer.call(system_stub(peer).Reload, system_pb2.ReloadRequest(), timeout=_TIMEOUT)


async def run(engine: Instance, arguments: argparse.Namespace) -> int:
    """1 where a service did not take its configuration; the others have. InvalidArgument for no service's name."""
    for name in arguments.service:
        if name not in SERVICES:
            raise InvalidArgument(f"no such service: {name}", reason="NO_SERVICE", field="service",
                                  expected=", ".join(SERVICES))
    wanted = [name for name in SERVICES if name in arguments.service] or SERVICES
    code = 0
    for service, answer in (await ask(engine, _question, wanted)).items():
        if isinstance(answer, PierError):
            print(f"{service}: {safe(answer.message)}", file=sys.stderr)
            code = 1
            continue
        for line in _lines(answer):
            print(f"{service}: {safe(line)}")
    return code


def _lines(answer: system_pb2.ReloadResponse) -> list[str]:
    lines = [f"{item.key} is {item.value or 'not set'} ({item.source})" for item in answer.changed]
    lines += [f"{key} needs a restart" for key in answer.needs_restart]
    return lines or ["nothing has changed"]
