"""execd's rpcs, each as the contract says."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import AsyncGenerator
from typing import cast

import pytest

from chassis.errors import AlreadyExists, Conflict, InvalidArgument, NotFound, NotModified, PierError, Unimplemented
from chassis.ids import new_id
from pier.exec.v1 import exec_pb2
from pier.types.v1 import types_pb2
from tests.service.execd.driver import demultiplex
from tests.service.execd.service import OWNER, Execd

CREATED, RUNNING, EXITED = (
    exec_pb2.CONTAINER_STATE_CREATED, exec_pb2.CONTAINER_STATE_RUNNING, exec_pb2.CONTAINER_STATE_EXITED
)


async def test_a_container_goes_from_creating_to_gone(service: Execd) -> None:
    container = await service.create("/bin/sh", "-c", "echo hello; exit 3", complete=False)
    assert (await service.get(container)).status.state == exec_pb2.CONTAINER_STATE_CREATING
    await service.complete(container)
    assert (await service.get(container)).status.state == CREATED
    client = await service.attach(container, stdin=False)
    waiting = asyncio.create_task(service.wait(container, exec_pb2.WAIT_CONDITION_NEXT_EXIT))
    await asyncio.sleep(0)
    started = await service.begin(container)
    assert started.status.incarnation == 1
    assert demultiplex(await asyncio.to_thread(client.read_all))[1] == b"hello\n"
    client.close()
    assert (await waiting).code == 3
    found = await service.get(container)
    assert (found.status.state, found.status.exit.code, found.status.pid) == (EXITED, 3, 0)
    assert await service.logs(container) == b"hello\n"
    removed = asyncio.create_task(service.wait(container, exec_pb2.WAIT_CONDITION_REMOVED))
    await asyncio.sleep(0.05)
    await service.remove(container, force=False)
    assert (await removed).code == 3
    assert (await service.wait(container)).code == 3
    with pytest.raises(NotFound):
        await service.get(container)
    await service.call("FinishRemove", exec_pb2.FinishRemoveRequest(id=container))


async def test_it_starts_again_with_its_files(service: Execd) -> None:
    container = await service.run("/bin/sh", "-c", "echo x >> /kept; wc -l < /kept")
    await service.wait(container)
    await service.begin(container, "2")
    await service.wait(container)
    assert (await service.logs(container)).split() == [b"1", b"2"]
    assert (await service.get(container)).status.incarnation == 2


async def test_the_same_create_answers_the_first_and_another_is_refused(service: Execd) -> None:
    request = exec_pb2.CreateContainerRequest(
        id=new_id(), name="taken", owner=OWNER,
        spec=exec_pb2.ContainerSpec(process=exec_pb2.Process(args=[b"sh"])),
    )
    first = await service.call("CreateContainer", request)
    assert (await service.call("CreateContainer", request)).container == first.container
    other = exec_pb2.CreateContainerRequest()
    other.CopyFrom(request)
    other.spec.hostname = "other"
    with pytest.raises(AlreadyExists) as refused:
        await service.call("CreateContainer", other)
    assert refused.value.reason == "SPEC_DIFFERS"
    other.id = new_id()
    with pytest.raises(AlreadyExists, match="already in use") as refused:
        await service.call("CreateContainer", other)
    assert (refused.value.reason, refused.value.facts["holder"]) == ("NAME_TAKEN", request.id)


async def test_a_start_is_joined_by_its_operation_and_refused_for_another(service: Execd) -> None:
    container = await service.create("/bin/sleep", "1000")
    first, second = await asyncio.gather(service.begin(container, "a"), service.begin(container, "a"))
    assert first == second
    assert (await service.begin(container, "a")).status.pid == first.status.pid
    with pytest.raises(NotModified):
        await service.begin(container, "b")
    with pytest.raises(Conflict) as refused:
        await service.remove(container, force=False)
    assert refused.value.reason == "RUNNING"


async def test_it_may_open_as_many_files_as_its_host_lets_it(service: Execd) -> None:
    """Each container takes some; systemd begins with 1024."""
    assert service.process is not None
    least, most = resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE)
    assert least == most


async def test_found_by_id_name_and_prefix(service: Execd) -> None:
    container = await service.create("/bin/true", name="web")
    for word in (container, "web", "/web", container[:10]):
        assert (await service.get(word)).id == container
    with pytest.raises(NotFound):
        await service.get("nobody")


async def test_stop_sends_the_signal_and_then_kills(service: Execd) -> None:
    container = await service.run("/bin/sh", "-c", "trap 'exit 9' TERM; echo set; while true; do sleep 0.05; done")
    while not await service.logs(container):
        await asyncio.sleep(0.01)
    stopped = await service.call("StopContainer", exec_pb2.StopContainerRequest(id=container))
    assert stopped.container.status.exit.code == 9
    with pytest.raises(NotModified):
        await service.call("StopContainer", exec_pb2.StopContainerRequest(id=container))
    stubborn = await service.run("/bin/sh", "-c", "trap '' TERM; while true; do sleep 0.05; done")
    stopped = await service.call("StopContainer", exec_pb2.StopContainerRequest(id=stubborn, timeout=0))
    assert (stopped.container.status.exit.code, stopped.container.status.exit.signal) == (137, 9)
    assert stopped.container.status.stopped_by_hand


async def test_kill_is_answered_at_the_end(service: Execd) -> None:
    container = await service.run("/bin/sleep", "1000")
    await service.call("KillContainer", exec_pb2.KillContainerRequest(id=container))
    assert (await service.get(container)).status.exit.code == 137
    with pytest.raises(Conflict):
        await service.call("KillContainer", exec_pb2.KillContainerRequest(id=container))
    with pytest.raises(InvalidArgument):
        await service.call("KillContainer", exec_pb2.KillContainerRequest(id=container, signal="NOPE"))


@pytest.mark.parametrize(
    "args, reason, code",
    [(["/nonexistent"], "COMMAND_NOT_FOUND", 127), (["nonexistent"], "COMMAND_NOT_FOUND", 127),
     (["/etc"], "COMMAND_NOT_EXECUTABLE", 126), (["/etc/passwd"], "COMMAND_NOT_EXECUTABLE", 126)],
)
async def test_a_command_that_cannot_run_is_told_by_its_reason_and_leaves_nothing(
    service: Execd, args: list[str], reason: str, code: int
) -> None:
    container = await service.create(*args)
    with pytest.raises(Conflict) as refused:
        await service.begin(container)
    assert refused.value.reason == reason
    found = await service.get(container)
    assert (found.status.state, found.status.exit.code) == (CREATED, code)
    assert found.status.error
    assert await service.fsck() == []
    with pytest.raises(Conflict):
        await service.begin(container)


async def test_logs_by_tail_since_and_follow(service: Execd) -> None:
    script = "seq 1 1000; read x; seq 1001 1005"
    container = await service.run("/bin/sh", "-c", script, stdin_open=True, stdin_once=True)
    while len(await service.logs(container)) < 3893:
        await asyncio.sleep(0.01)
    assert await service.logs(container, tail=2) == b"999\n1000\n"
    assert await service.logs(container, tail=0) == b""
    following = service.follow(container, tail=1)
    first = await anext(following)
    client = await service.attach(container)
    await asyncio.to_thread(client.send, b"\n")
    assert first + b"".join([data async for data in following]) == b"1000\n1001\n1002\n1003\n1004\n1005\n"
    client.close()


async def test_following_goes_on_across_rotations(service: Execd) -> None:
    spec = exec_pb2.ContainerSpec(log=exec_pb2.LogSpec(options={"max-size": "20k", "max-file": "3"}))
    container = await service.create("/bin/sh", "-c", "for i in $(seq 1 60); do seq 1 10; usleep 3000; done", spec=spec)
    await service.begin(container)
    data = await service.logs(container, follow=True)
    assert data.split() == [str(number).encode() for number in range(1, 11)] * 60


async def test_the_driver_none_keeps_nothing_and_says_so(service: Execd) -> None:
    container = await service.run("/bin/echo", "x", spec=exec_pb2.ContainerSpec(log=exec_pb2.LogSpec(driver="none")))
    await service.wait(container)
    with pytest.raises(Unimplemented, match="does not support reading"):
        await service.logs(container)


async def test_events_are_sequenced_and_resumable(service: Execd) -> None:
    container = await service.run("/bin/sh", "-c", "exit 5")
    await service.wait(container)
    await service.remove(container)
    selector = types_pb2.EventSelector(after=types_pb2.Cursor(sequence=0))
    seen = []
    stream = service.peer.stream(service.containers.Events, exec_pb2.EventsRequest(selector=selector), 60)
    async for response in stream:
        seen.append(response.event)
        if response.event.action == "destroy":
            break
    await cast("AsyncGenerator[object]", stream).aclose()
    assert [event.action for event in seen] == ["create", "start", "die", "destroy"]
    assert seen[2].attributes["exitCode"] == "5"
    assert [event.cursor.sequence for event in seen] == [1, 2, 3, 4]


async def test_the_grpc_twin_of_attach_echoes_and_half_closes(service: Execd) -> None:
    container = await service.create("/bin/cat", stdin_open=True, stdin_once=True)
    data = os.urandom(1 << 20)
    attached = asyncio.Event()

    async def requests():
        yield exec_pb2.AttachRequest(open=exec_pb2.AttachOpen(id=container, stdin=True, stdout=True, stderr=True))
        await attached.wait()
        for start in range(0, len(data), 65536):
            yield exec_pb2.AttachRequest(stdin=data[start : start + 65536])
        yield exec_pb2.AttachRequest(stdin_end=True)

    received = b""
    async for response in service.peer.stream(service.containers.Attach, requests(), 30):
        if not attached.is_set():
            attached.set()
            await service.begin(container)
        received += response.data
    assert received == data


async def test_a_terminal_is_resized(service: Execd) -> None:
    container = await service.create("/bin/sh", "-c", "read x; stty size", terminal=True, stdin_open=True,
                                     terminal_height=20, terminal_width=70)
    client = await service.attach(container)
    await service.begin(container)
    await service.call("ResizeTerminal", exec_pb2.ResizeTerminalRequest(id=container, height=33, width=99))
    await asyncio.to_thread(client.send, b"\n")
    assert b"33 99" in await asyncio.to_thread(client.read_all)
    client.close()


@pytest.mark.parametrize(
    "method, message",
    [("ExecSync", exec_pb2.ExecSyncRequest())],
)
async def test_what_is_not_built_is_refused_by_its_name(service: Execd, method: str, message: object) -> None:
    with pytest.raises(Unimplemented, match=method):
        await service.call(method, message)


async def test_bad_ids_are_refused_where_they_enter(service: Execd) -> None:
    for bad in ("", "../x", "A" * 64, "a" * 63):
        with pytest.raises(InvalidArgument):
            await service.call("CreateContainer", exec_pb2.CreateContainerRequest(
                id=bad, name="ok", owner=OWNER, spec=exec_pb2.ContainerSpec(process=exec_pb2.Process(args=[b"sh"]))
            ))
        with pytest.raises(PierError):
            await service.begin(bad)


async def test_a_container_attached_and_never_started_is_removed_whole(service: Execd) -> None:
    container = await service.create("/bin/true")
    client = await service.attach(container)
    await service.remove(container)
    assert await asyncio.to_thread(client.read_all) == b""
    client.close()
