"""Variables that a start alone gives, and that are written down nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from chassis.errors import InvalidArgument
from pier.exec.v1 import exec_pb2
from tests.service.execd.service import Execd

GIVEN = [b"WORD=most-secret"]


async def test_a_secret_is_in_its_process_and_neither_in_an_exec_nor_in_a_file(service: Execd) -> None:
    container = await service.create("/bin/sleep", "1000", env=[b"WORD=public"])
    answer = await service.begin(container, secret_env=GIVEN)
    assert b"most-secret" not in answer.SerializeToString()
    assert b"most-secret" not in (await service.get(container)).SerializeToString()
    assert b"WORD=most-secret\0" in Path(f"/proc/{answer.status.pid}/environ").read_bytes()
    state = service.instance.state("execd")
    assert [path for path in state.rglob("*") if path.is_file() and b"most-secret" in path.read_bytes()] == []
    assert b"WORD=public\n" in await service.output(container, "/bin/sh", "-c", "env")


async def test_a_container_that_is_started_again_by_itself_has_no_secrets(service: Execd) -> None:
    spec = exec_pb2.ContainerSpec(restart_policy=exec_pb2.RestartPolicy(name="always"))
    container = await service.create("/bin/sleep", "1000", spec=spec)
    with pytest.raises(InvalidArgument) as refused:
        await service.begin(container, secret_env=GIVEN)
    assert refused.value.field == "secret_env"
