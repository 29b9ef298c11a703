"""A typed client of a Pier engine over gRPC: ``Pier`` for programs that wait, ``AsyncPier`` for asyncio.

Answers are the contracts' messages (``pier.engine.v1`` and what it is made of); a call that fails raises a
``PierError`` with gRPC's code, the reason (an UPPER_SNAKE word that never changes) and the field at fault. Both clients
have the same groups and names: ``containers``, ``images``, ``networks``, ``volumes``, ``events``, ``info``.

Example::

    with Pier() as pier:
        result = pier.containers.run("busybox", ["echo", "hello"])
        print(result.exit.code, result.stdout)
"""

from pier_client.aio import AsyncPier
from pier_client.channels import Tls, target_of
from pier_client.errors import PierError
from pier_client.results import ExecResult, RunResult
from pier_client.sync import Pier

__all__ = ["AsyncPier", "ExecResult", "Pier", "PierError", "RunResult", "Tls", "target_of"]
