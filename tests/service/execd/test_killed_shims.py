"""kill -9 of shims: another takes its place, and no line is missing, doubled or out of order."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from pier.exec.v1 import exec_pb2
from tests.engine import wait_until
from tests.service.execd.driver import TIMEOUT, Control
from tests.service.execd.service import Execd
from tests.service.execd.test_kill import WRITER, lines, open_status, until_more_than

RUNNING = exec_pb2.CONTAINER_STATE_RUNNING
CODES = (7,) if os.uname().release >= "6.15" else (7, None)
"""Linux 6.15 and later tell how it ended; before, nobody can know, and nobody guesses."""


async def kill_shim(service: Execd, container: str) -> int:
    """Kill the container's shim; the pid of its process."""
    pid = (await service.get(container)).status.pid
    async with asyncio.timeout(TIMEOUT):
        # Until the runtime has ended it is the parent, or a helper of its own is.
        while open_status(parent := int(open_status(pid)["PPid"]))["Name"] != "pier-shim":
            await asyncio.sleep(0.01)
    os.kill(parent, signal.SIGKILL)
    return pid


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
    assert (exit_.code if exit_.HasField("code") else None) in CODES
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
    assert (exit_.code if exit_.HasField("code") else None) in CODES
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
    async with asyncio.timeout(TIMEOUT):
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
    assert (exit_.code if exit_.HasField("code") else None) in CODES
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
    assert (exit_.code if exit_.HasField("code") else None) in CODES
    assert (await service.logs(container)).split() == [b"first", *(str(number).encode() for number in range(1, 501))]
    await service.remove(container)
    assert await service.fsck() == []


async def until_logged(service: Execd, container: str, word: bytes) -> None:
    async with asyncio.timeout(TIMEOUT):
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
