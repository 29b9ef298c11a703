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
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from chassis.errors import PierError
from chassis.ids import new_id
from pier.exec.v1 import exec_pb2
from tests.engine import wait_until
from tests.service.execd.driver import ZYGOTE, Control
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
    deadline = time.monotonic() + 20
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


async def kill_shim(service: Execd, container: str) -> int:
    """Kill the container's shim; the pid of its process."""
    pid = (await service.get(container)).status.pid
    async with asyncio.timeout(10):
        # Until the runtime has ended it is the parent, or a helper of its own is.
        while open_status(parent := int(open_status(pid)["PPid"]))["Name"] != "pier-shim":
            await asyncio.sleep(0.01)
    os.kill(parent, signal.SIGKILL)
    return pid


def open_status(pid: int) -> dict[str, str]:
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


@pytest.mark.parametrize("execd_too", [False, True])
async def test_a_container_goes_on_without_its_shim_and_its_exit_is_never_zero_by_guess(
    service: Execd, execd_too: bool
) -> None:
    flag = service.base / "flag"
    container = await service.run(
        "/bin/sh", "-c", "while ! test -e /flag; do usleep 10000; done; exit 7",
    )
    pid = await kill_shim(service, container)
    if execd_too:
        await service.kill()
        await service.start()
    assert (await service.get(container)).status.state == RUNNING
    (service.base / "snapshots" / container[:16] / "upper" / "other").touch()
    Path(f"/proc/{pid}/root/flag").touch()
    exit_ = await service.wait(container)
    assert not flag.exists()
    # Linux 6.15 and later tell; before, nobody can know, and nobody guesses.
    assert (exit_.code if exit_.HasField("code") else None) in ((7,) if os.uname().release >= "6.15" else (7, None))
    await service.begin(container, "again")
    assert (await service.wait(container)).code == 7
    assert await service.fsck() == []


@pytest.mark.parametrize("terminal", [False, True], ids=["pipes", "terminal"])
async def test_a_killed_shim_has_a_successor_and_no_line_is_missing(service: Execd, terminal: bool) -> None:
    script = f"trap 'exit 7' TERM; {WRITER}"
    container = await service.run("/bin/sh", "-c", script, terminal=terminal, stdin_open=terminal)
    for _ in range(3):
        count = len(await lines(service, container))
        await until_more_than(service, container, count + 3)
        pid = await kill_shim_of(service, container)
        await until_more_than(service, container, len(await lines(service, container)) + 5)
        assert (await service.get(container)).status.pid == pid
        assert await service.output(container, "/bin/echo", "through") == b"through\n"
    client = await service.attach(container, stdin=terminal)
    assert await asyncio.to_thread(client.socket.recv, 100)
    assert await service.fsck() == []
    await service.kill()  # whose own copies go with it: the successor is a shim as any other
    await service.start()
    stopped = await service.call("StopContainer", exec_pb2.StopContainerRequest(id=container))
    exit_ = stopped.container.status.exit
    assert (exit_.code if exit_.HasField("code") else None) in ((7,) if os.uname().release >= "6.15" else (7, None))
    numbers = await lines(service, container)
    assert numbers == list(range(len(numbers)))
    await service.begin(container, "2")
    await service.remove(container)


async def kill_shim_of(service: Execd, container: str) -> int:
    """Kill the shim that holds the container now, its first one's successor or not; the pid of its process."""
    found = await service.get(container)
    answer = await service.call("OpenAttach", exec_pb2.OpenAttachRequest(id=container))
    control = Control(Path(os.fsdecode(answer.socket_path)).with_name("shim.sock"))
    shim = int(control.ask("describe")["pid"])
    control.close()
    os.kill(shim, signal.SIGKILL)
    async with asyncio.timeout(20):
        while os.path.exists(f"/proc/{shim}") and open_status(shim)["State"][0] != "Z":
            await asyncio.sleep(0.01)
    return found.status.pid


class Shims:
    """The shims that follow one another at a running container."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.last = 0

    @classmethod
    async def of(cls, service: Execd, container: str) -> Shims:
        answer = await service.call("OpenAttach", exec_pb2.OpenAttachRequest(id=container))
        return cls(Path(os.fsdecode(answer.socket_path)).parent)

    async def next(self) -> int:
        """The pid of one that was not there before and has the process; 0 where that has ended."""
        async with asyncio.timeout(60):
            while self.run_dir.exists():
                said: dict[str, Any] = {}
                with suppress(OSError, EOFError), closing(Control(self.run_dir / "shim.sock")) as control:
                    said = control.ask("describe")
                if said and said["pid"] != self.last and said["state"] == "running":
                    self.last = int(said["pid"])
                    return self.last
                await asyncio.sleep(0.002)
        return 0


UNLIMITED = exec_pb2.ContainerSpec(log=exec_pb2.LogSpec(options={"max-size": "-1"}))


@pytest.mark.parametrize("terminal", [False, True], ids=["pipes", "terminal"])
async def test_a_fast_writer_under_killed_shims_has_each_line_logged_once(service: Execd, terminal: bool) -> None:
    seed = int(os.environ.get("PIER_SEED", str(random.randrange(1 << 32))))
    print(f"PIER_SEED={seed}")
    chance, kills = random.Random(seed), int(os.environ.get("PIER_SHIM_KILLS", "6"))
    script = "i=0; while [ ! -e /enough ]; do seq $i $((i+999)); i=$((i+1000)); done; printf end; exit 7"
    container = await service.run("/bin/sh", "-c", script, terminal=terminal, spec=UNLIMITED)
    shims = await Shims.of(service, container)
    for _ in range(kills):
        shim = await shims.next()
        await asyncio.sleep(chance.uniform(0, 0.03))  # somewhere in its work
        os.kill(shim, signal.SIGKILL)
    await shims.next()
    Path(f"/proc/{(await service.get(container)).status.pid}/root/enough").touch()
    exit_ = await service.wait(container)
    assert (exit_.code if exit_.HasField("code") else None) in ((7,) if os.uname().release >= "6.15" else (7, None))
    logged = (await service.logs(container)).replace(b"\r\n", b"\n").decode().split("\n")
    assert logged[-1] == "end"
    assert logged[:-1] == [str(number) for number in range(len(logged) - 1)]
    assert len(logged) > 1000


@pytest.mark.parametrize("terminal", [False, True], ids=["pipes", "terminal"])
async def test_what_a_container_wrote_before_it_ended_with_its_shim_is_logged(service: Execd, terminal: bool) -> None:
    script = "echo first; while [ ! -e /go ]; do usleep 10000; done; seq 1 500; exit 7"
    container = await service.run("/bin/sh", "-c", script, terminal=terminal)
    await until_logged(service, container, b"first")
    pid, shim = (await service.get(container)).status.pid, await (await Shims.of(service, container)).next()
    assert service.process is not None
    service.process.send_signal(signal.SIGSTOP)
    try:
        os.kill(shim, signal.SIGKILL)
        Path(f"/proc/{pid}/root/go").touch()
        await asyncio.to_thread(wait_until, lambda: not os.path.exists(f"/proc/{pid}"))
    finally:
        service.process.send_signal(signal.SIGCONT)
    exit_ = await service.wait(container)
    assert (exit_.code if exit_.HasField("code") else None) in ((7,) if os.uname().release >= "6.15" else (7, None))
    assert (await service.logs(container)).split() == [b"first", *(str(number).encode() for number in range(1, 501))]
    await service.remove(container)
    assert await service.fsck() == []


async def until_logged(service: Execd, container: str, word: bytes) -> None:
    async with asyncio.timeout(20):
        while word not in await service.logs(container):
            await asyncio.sleep(0.01)


async def test_stop_and_remove_work_without_a_shim(service: Execd) -> None:
    container = await service.run("/bin/sleep", "1000")
    exec_id, _ = await service.exec(container, "/bin/sleep", "1000", attach=False)
    await kill_shim(service, container)
    stopped = await service.call("StopContainer", exec_pb2.StopContainerRequest(id=container, timeout=1, signal="KILL"))
    assert stopped.container.status.exit.code == 137
    while (made := (await service.call("GetExec", exec_pb2.GetExecRequest(id=exec_id))).exec).running:
        await asyncio.sleep(0.01)
    assert not made.exit.HasField("code")
    await service.remove(container)


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


async def test_a_kill_at_any_stage_leaves_it_done_or_undone(service: Execd) -> None:
    container = new_id()
    await story(service, container)
    await ending(service, container)
    points = [name for name in stages_logged(service) if not name.startswith("restart.")]
    assert {"create.record", "start.record_intent", "start.runtime_run", "update.limits", "exit.record"} <= set(points)
    await service.stop()
    tried = 0
    for point in [spelt for name in points for spelt in (name, f"{name}@end")]:
        await service.start(PIER_FAULT=f"execd:{point}:kill")
        container = new_id()
        try:
            await story(service, container)
            await ending(service, container)
        except PierError:
            tried += 1
        assert service.process is not None
        await asyncio.to_thread(service.process.wait, 20)
        assert service.process.returncode == -signal.SIGKILL, point
        await service.peer.close()
        await service.start()
        state = await settled(service, container)
        if state in (exec_pb2.CONTAINER_STATE_UNSPECIFIED, CREATING, CREATED) and point.startswith(("create", "start")):
            # The same calls again carry on from there.
            await story(service, container) if state != CREATED else await service.begin(container, "2")
            state = await settled(service, container)
            assert state == RUNNING, point
        if state != exec_pb2.CONTAINER_STATE_UNSPECIFIED:
            await service.remove(container)
        await settled(service, container)
        await service.stop()
    assert tried > len(points)
    await service.start()


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
        await asyncio.to_thread(service.process.wait, 20)
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
