"""Containers that the kernel does not let go: calls about them end in time and say so, and others notice nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chassis.errors import Conflict, DeadlineExceeded
from execd.freezer import Freezer
from pier.exec.v1 import exec_pb2
from pier.types.v1 import types_pb2
from tests.service.execd.driver import TIMEOUT
from tests.service.execd.hung_mount import hung_mount
from tests.service.execd.service import Execd

WITHIN = 0.5
"""Seconds after which a killed process counts as stuck here."""


@pytest.fixture
async def impatient(service: Execd) -> Execd:
    await service.stop()
    await service.start(PIER_EXECD_KILL_WITHIN=str(WITHIN))
    return service


async def state_of(service: Execd, container: str, wanted: int) -> exec_pb2.Container:
    async with asyncio.timeout(TIMEOUT):
        while (found := await service.get(container)).status.state != wanted:
            await asyncio.sleep(0.01)
    return found


async def test_what_somebody_else_has_frozen_is_thawed_to_be_killed(service: Execd) -> None:
    container = await service.run("/bin/sleep", "1000")
    freezer = Freezer(f"{service.instance.cgroup_parent}/{container}")
    async with asyncio.timeout(TIMEOUT):
        while not freezer.freeze():
            await asyncio.sleep(0.01)
    await service.call("KillContainer", exec_pb2.KillContainerRequest(id=container))
    assert (await service.get(container)).status.exit.code == 137
    await service.remove(container)


async def test_a_process_in_uninterruptible_sleep_holds_up_nobody_and_is_removed_when_it_ends(
    impatient: Execd
) -> None:
    hung = impatient.base / "hung"
    hung.mkdir()
    with hung_mount(hung) as caught:
        container = await impatient.run("/bin/sh", "-c", "cat /hung/file", spec=exec_pb2.ContainerSpec(mounts=[
            types_pb2.MountSpec(type="bind", source=str(hung).encode(), target=b"/hung", recursive=True),
        ], restart_policy=exec_pb2.RestartPolicy(name="always")))
        assert await asyncio.to_thread(caught.wait, TIMEOUT)
        stuck = [
            asyncio.create_task(impatient.call("KillContainer", exec_pb2.KillContainerRequest(id=container)))
            for _ in range(20)
        ]
        stuck.append(asyncio.create_task(impatient.call(
            "StopContainer", exec_pb2.StopContainerRequest(id=container, timeout=0))))
        # Others meanwhile, from create to gone.
        for _ in range(3):
            other = await impatient.run("/bin/echo", "hello")
            assert (await impatient.wait(other)).code == 0
            assert await impatient.logs(other) == b"hello\n"
            await impatient.remove(other)
        assert (await impatient.get(container)).status.state == exec_pb2.CONTAINER_STATE_RUNNING
        for answer in await asyncio.gather(*stuck, return_exceptions=True):
            assert isinstance(answer, DeadlineExceeded)
            assert answer.reason == "STUCK"
        assert "disk sleep" in "".join(
            Path(f"/proc/{pid}/status").read_text() for pid in await pids_of(impatient, container)
        )
        with pytest.raises(DeadlineExceeded, match="removed when it has ended") as told:
            await impatient.call("BeginRemove", exec_pb2.BeginRemoveRequest(id=container, force=True))
        assert told.value.reason == "STUCK"
        await impatient.kill()
        await impatient.start()
        assert (await impatient.get(container)).status.remove_at_end
    found = await state_of(impatient, container, exec_pb2.CONTAINER_STATE_REMOVING)
    assert found.status.exit.code == 137
    with pytest.raises(Conflict):
        await impatient.begin(container, "2")
    await impatient.call("FinishRemove", exec_pb2.FinishRemoveRequest(id=container))
    assert await impatient.fsck() == []


async def pids_of(service: Execd, container: str) -> list[int]:
    answer = await service.call("ListProcesses", exec_pb2.ListProcessesRequest(id=container))
    return [process.pid for process in answer.processes]
