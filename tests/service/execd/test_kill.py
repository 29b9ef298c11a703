"""kill -9 of execd, the zygote and shims: containers do not notice, and what was begun is done or undone."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from chassis.errors import PierError
from chassis.ids import new_id
from pier.exec.v1 import exec_pb2
from tests.engine import wait_until
from tests.service.execd.driver import TIMEOUT, ZYGOTE
from tests.service.execd.service import OWNER, Execd

CREATING, CREATED, RUNNING, EXITED = (
    exec_pb2.CONTAINER_STATE_CREATING, exec_pb2.CONTAINER_STATE_CREATED, exec_pb2.CONTAINER_STATE_RUNNING,
    exec_pb2.CONTAINER_STATE_EXITED,
)
WRITER = "i=0; while true; do echo $i; i=$((i+1)); usleep 10000; done"


async def _execd(service: Execd) -> None:
    await service.kill()


async def _zygote(service: Execd) -> None:
    service.kill_zygote()


async def _both(service: Execd) -> None:
    await service.kill()
    service.kill_zygote()


async def lines(service: Execd, container: str) -> list[int]:
    return [int(line) for line in (await service.logs(container)).split()]


async def until_more_than(service: Execd, container: str, count: int) -> None:
    deadline = time.monotonic() + TIMEOUT
    while len(await lines(service, container)) <= count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("kill", [_execd, _zygote, _both], ids=["execd", "zygote", "both"])
async def test_no_line_and_no_exit_code_is_lost_under_a_kill(
    service: Execd, kill: Callable[[Execd], Awaitable[None]]
) -> None:
    writer = await service.run("/bin/sh", "-c", WRITER)
    ending = await service.run("/bin/sh", "-c", "read x; exit 7", stdin_open=True, stdin_once=True)
    client = await service.attach(ending)
    waiting = await service.run("/bin/sh", "-c", "read x; exit 8", stdin_open=True, stdin_once=True)
    feeder = await service.attach(waiting)
    exec_id, exec_client = await service.exec(writer, "/bin/sh", "-c", "read x; exit 6", stdin_open=True)
    assert exec_client is not None
    await until_more_than(service, writer, 5)
    await kill(service)
    client.send(b"now\n")
    exec_client.send(b"now\n")
    assert client.read_all() == b""
    assert exec_client.read_all() == b""
    if service.process is None:
        await service.start()
    count = len(await lines(service, writer))
    assert (await service.wait(ending)).code == 7
    assert (await service.call("GetExec", exec_pb2.GetExecRequest(id=exec_id))).exec.exit.code == 6
    feeder.send(b"now\n")
    assert (await service.wait(waiting)).code == 8
    await until_more_than(service, writer, count + 5)
    states = {found.id: found.status.state for found in await service.list()}
    assert states == {writer: RUNNING, ending: EXITED, waiting: EXITED}
    assert await service.output(writer, "/bin/echo", "through") == b"through\n"
    fresh = await service.run("/bin/sh", "-c", "exit 3")
    assert (await service.wait(fresh)).code == 3
    stopped = await service.call("StopContainer", exec_pb2.StopContainerRequest(id=writer, timeout=0))
    assert stopped.container.status.exit.code == 137
    numbers = await lines(service, writer)
    assert numbers == list(range(len(numbers)))


async def test_a_kill_while_everything_is_down_is_seen_afterwards(service: Execd) -> None:
    container = await service.run("/bin/sleep", "1000")
    pid = (await service.get(container)).status.pid
    await _both(service)
    os.kill(pid, signal.SIGKILL)
    await service.start()
    exit_ = await service.wait(container)
    assert (exit_.code, exit_.signal) == (137, 9)


async def test_an_attached_client_outlives_execd(service: Execd) -> None:
    container = await service.create("/bin/cat", stdin_open=True, stdin_once=True)
    client = await service.attach(container)
    await service.kill()
    await service.start()
    await service.begin(container)
    await service.kill()
    client.send(b"through the kill\n")
    client.half_close()
    assert client.streams()[1] == b"through the kill\n"
    await service.start()
    assert (await service.wait(container)).code == 0


def open_status(pid: int) -> dict[str, str]:
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


# Fault points.


async def story(service: Execd, container: str) -> None:
    """A container's create, start and update; whatever dies in between is for the caller to see."""
    spec = exec_pb2.ContainerSpec(process=exec_pb2.Process(args=[b"/bin/sleep", b"1000"]))
    await service.call("CreateContainer", exec_pb2.CreateContainerRequest(
        id=container, name=f"n{container[:8]}", owner=OWNER, spec=spec
    ))
    await service.complete(container)
    await service.begin(container, hosts=b"127.0.0.1 localhost\n")
    await service.call("UpdateContainer", exec_pb2.UpdateContainerRequest(
        id=container, resources=exec_pb2.Resources(pids=77)))


async def ending(service: Execd, container: str) -> None:
    await service.call("StopContainer", exec_pb2.StopContainerRequest(id=container, timeout=0, signal="KILL"))
    await service.call("BeginRemove", exec_pb2.BeginRemoveRequest(id=container, force=True))
    await service.call("FinishRemove", exec_pb2.FinishRemoveRequest(id=container))


def stages_logged(service: Execd) -> list[str]:
    names: dict[str, None] = {}
    for line in service.log().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record.get("event") == "stage":
            names[record["stage"]] = None
    return list(names)


def pids_limit(pid: int) -> str:
    """As the kernel has it."""
    memberships = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    (path,) = (line.split(":", 2)[2] for line in memberships if line.split(":")[1] == "pids")
    return Path(f"/sys/fs/cgroup/pids{path}/pids.max").read_text().strip()


async def settled(service: Execd, container: str) -> exec_pb2.ContainerState.ValueType:
    """The state of the container after a restart, each of which is whole: a record with what belongs to it, or none."""
    assert await service.fsck() == []
    found = [item for item in await service.list() if item.id == container]
    if not found:
        return exec_pb2.CONTAINER_STATE_UNSPECIFIED
    state = found[0].status.state
    if state == RUNNING:
        assert open_status(found[0].status.pid)["Name"] in ("sleep", "crun")
        assert pids_limit(found[0].status.pid) == str(found[0].spec.resources.pids or "max")
    return state


async def test_a_kill_at_any_stage_leaves_it_done_or_undone(service: Execd, tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    container = new_id()
    await story(service, container)
    await ending(service, container)
    points = [name for name in stages_logged(service) if not name.startswith("restart.")]
    assert {"create.record", "start.record_intent", "start.runtime_run", "update.limits", "exit.record"} <= set(points)
    await service.stop()
    await service.start(PIER_FAULT=f"@{armed}")
    tried = 0
    for point in [spelt for name in points for spelt in (name, f"{name}@end")]:
        armed.write_text(f"execd:{point}:kill")
        container = new_id()
        try:
            await story(service, container)
            await ending(service, container)
        except PierError:
            tried += 1
        assert service.process is not None
        await asyncio.to_thread(service.process.wait, TIMEOUT)
        assert service.process.returncode == -signal.SIGKILL, point
        await service.peer.close()
        await service.start(PIER_FAULT=f"@{armed}")
        state = await settled(service, container)
        if state in (exec_pb2.CONTAINER_STATE_UNSPECIFIED, CREATING, CREATED) and point.startswith(("create", "start")):
            # The same calls again carry on from there.
            await story(service, container) if state != CREATED else await service.begin(container, "2")
            state = await settled(service, container)
            assert state == RUNNING, point
        if state != exec_pb2.CONTAINER_STATE_UNSPECIFIED:
            await service.remove(container)
        await settled(service, container)
    assert tried > len(points)


async def test_kills_at_random_moments_leave_everything_whole(service: Execd, capsys) -> None:
    count = int(os.environ.get("PIER_KILLS", "15"))
    seed = int(os.environ.get("PIER_SEED", str(random.randrange(1 << 32))))
    with capsys.disabled():
        print(f" {count} kills, PIER_SEED={seed}", end="")
    chance = random.Random(seed)
    for number in range(count):
        containers: list[str] = []

        async def work(mine: list[str] = containers) -> None:
            while True:
                mine.append(new_id())
                await story(service, mine[-1])
                await ending(service, mine[-1])

        busy = asyncio.create_task(work())
        await asyncio.sleep(chance.uniform(0, 0.15))
        victims = chance.choice([("execd",), ("execd", "zygote"), ("execd",)])
        if "zygote" in victims:
            service.kill_zygote()
        assert service.process is not None
        service.process.kill()
        await asyncio.to_thread(service.process.wait, TIMEOUT)
        try:
            await busy
        except PierError:
            pass
        await service.peer.close()
        await service.start()
        for container in containers:
            state = await settled(service, container)
            assert state in (exec_pb2.CONTAINER_STATE_UNSPECIFIED, CREATING, CREATED, RUNNING, EXITED,
                             exec_pb2.CONTAINER_STATE_REMOVING), (seed, number)
            if state != exec_pb2.CONTAINER_STATE_UNSPECIFIED:
                await service.remove(container)
        assert await service.fsck() == [], (seed, number)


async def test_the_output_of_a_command_that_ends_at_once_is_never_lost(service: Execd) -> None:
    for number in range(int(os.environ.get("PIER_FAST_RUNS", "50"))):
        container = await service.create("/bin/echo", f"line {number}")
        client = await service.attach(container, stdin=False)
        await service.begin(container)
        streams = await asyncio.to_thread(client.streams)
        client.close()
        assert streams[1] == f"line {number}\n".encode()
        assert (await service.wait(container)).code == 0
        assert await service.logs(container) == f"line {number}\n".encode()
        await service.remove(container)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
async def test_a_runtimes_probe_that_an_end_comes_between_leaves_nothing(service: Execd, number: int) -> None:
    for _ in range(4):
        await service.stop(number)
        (service.instance.state("execd") / "runtimes.json").unlink(missing_ok=True)
        await service.start()  # it probes from now on, and is ended in the middle
    await service.stop(number)
    await service.start()
    container = await service.run("/bin/true")
    await service.wait(container)
    assert await service.fsck() == []


async def test_the_supervisors_zygote_takes_the_place_of_execds_own(service: Execd) -> None:
    """What the launcher does when it has paused: execd goes on with the other one, and keeps no corpse of its own."""
    assert service.process is not None
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
    assert children.read_text().split()
    program = [sys.executable, "-I", "-S", str(ZYGOTE), "--socket", str(service.instance.zygote_socket),
               "--cgroup-parent", service.instance.cgroup_parent]
    zygote = await asyncio.to_thread(subprocess.Popen, program)
    try:
        await asyncio.to_thread(wait_until, lambda: service.zygote_pid() == zygote.pid)
        await asyncio.to_thread(wait_until, lambda: not children.read_text().split())
        container = await service.run("/bin/true")
        assert (await service.wait(container)).code == 0
        await service.remove(container)
    finally:
        zygote.terminate()
        await asyncio.to_thread(zygote.wait)
