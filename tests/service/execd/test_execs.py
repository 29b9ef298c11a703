"""Further processes of a container: theirs is the stream, the user and the end."""

from __future__ import annotations

import asyncio

import pytest

from chassis.errors import Conflict, NotModified
from chassis.ids import new_id
from pier.exec.v1 import exec_pb2
from tests.service.execd.driver import demultiplex
from tests.service.execd.service import Execd


async def test_execs_have_their_own_streams_users_exits_and_filter(service: Execd) -> None:
    container = await service.run("/bin/sleep", "1000", env=[b"A=1"], user="alice")
    exec_id, client = await service.exec(
        container, "/bin/sh", "-c",
        "id -u; echo $A$B; grep Seccomp: /proc/self/status; grep CapInh /proc/self/status; exit 4",
        env=[b"B=2"],
    )
    assert client is not None
    output = demultiplex(await asyncio.to_thread(client.read_all))[1]
    client.close()
    assert output.split(b"\n")[:4] == [b"1000", b"12", b"Seccomp:\t2", b"CapInh:\t0000000000000000"]
    found = (await service.call("GetExec", exec_pb2.GetExecRequest(id=exec_id))).exec
    assert (found.exit.code, found.running, found.started) == (4, False, True)
    assert await service.output(container, "/bin/id", "-u", user="0") == b"0\n"
    with pytest.raises(NotModified):
        await service.call("ExecStart", exec_pb2.ExecStartRequest(id=exec_id, operation_id="2"))
    with pytest.raises(Conflict) as refused:
        await service.exec(container, "nonexistent")
    assert refused.value.reason == "COMMAND_NOT_FOUND"


async def test_an_exec_that_runs_is_listed(service: Execd) -> None:
    container = await service.run("/bin/sleep", "1000")
    exec_id, _ = await service.exec(container, "/bin/sleep", "1000", attach=False)
    assert list((await service.get(container)).exec_ids) == [exec_id]


async def test_an_exec_that_waits_for_its_start_does_not_outlive_its_container(service: Execd) -> None:
    container = await service.run("/bin/sleep", "1000")
    exec_id = new_id()
    await service.call("ExecCreate", exec_pb2.ExecCreateRequest(
        id=exec_id, container_id=container, process=exec_pb2.Process(args=[b"/bin/true"])
    ))
    client = await service.attach(container, exec_id)
    await service.call("KillContainer", exec_pb2.KillContainerRequest(id=container))
    assert await asyncio.to_thread(client.read_all) == b""
    with pytest.raises(Conflict):
        await service.call("ExecStart", exec_pb2.ExecStartRequest(id=exec_id, operation_id="1"))
