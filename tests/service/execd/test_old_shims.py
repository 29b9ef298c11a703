"""Shims of the first version, kept as they were, under the execd of today: a shim lives as long as its container."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chassis.errors import Unavailable
from pier.exec.v1 import exec_pb2
from tests.service.execd.driver import demultiplex
from tests.service.execd.service import Execd

FROZEN = Path(__file__).with_name("data") / "shim-1.zip"
"""The sources of zygote and shim as of the protocol's first version. Not to be made anew."""


@pytest.fixture
async def old(service: Execd) -> AsyncIterator[Execd]:
    """An execd whose zygote, and so every shim, is the frozen one."""
    home = service.base / "frozen"
    with zipfile.ZipFile(FROZEN) as archive:
        archive.extractall(home)
    program = [sys.executable, "-I", "-S", "-B", str(home / "services/execd/zygote/__main__.py"), "--socket",
               str(service.instance.zygote_socket), "--cgroup-parent", service.instance.cgroup_parent]
    zygote = await asyncio.to_thread(subprocess.Popen, program)
    try:
        async with asyncio.timeout(60):
            while service.zygote_pid() != zygote.pid:
                await asyncio.sleep(0.01)
        yield service
        for container in await service.list():
            await service.remove(container.id)
    finally:
        zygote.terminate()
        await asyncio.to_thread(zygote.wait)


async def test_an_old_shim_does_all_that_its_container_needs(old: Execd) -> None:
    container = await old.create("/bin/sh", "-c", "echo hello; read line; echo got $line; read line; exit 7",
                                 stdin_open=True)
    client = await old.attach(container)
    await old.begin(container, hosts=b"127.0.0.1 localhost\n")
    for start in ("as it was", "another"):
        assert (await old.output(container, "/bin/echo", start)).decode() == f"{start}\n"
        await old.call("PauseContainer", exec_pb2.PauseContainerRequest(id=container))
        await old.call("UnpauseContainer", exec_pb2.UnpauseContainerRequest(id=container))
        await old.call("UpdateContainer", exec_pb2.UpdateContainerRequest(
            id=container, resources=exec_pb2.Resources(pids=99)))
        await old.kill()
        await old.start()
        assert (await old.get(container)).status.state == exec_pb2.CONTAINER_STATE_RUNNING
    client.send(b"one\ntwo\n")
    output = await asyncio.to_thread(client.read_all)
    assert demultiplex(output)[1] == b"hello\ngot one\n"
    assert (await old.wait(container)).code == 7
    assert await old.logs(container) == b"hello\ngot one\n"
    await old.begin(container, "2")
    await old.call("StopContainer", exec_pb2.StopContainerRequest(id=container, timeout=0))
    assert (await old.get(container)).status.exit.code == 137
    await old.remove(container)
    assert await old.fsck() == []


async def test_what_an_old_shim_cannot_do_is_refused_and_not_forgotten(old: Execd) -> None:
    for options in ({"labels": "x"}, {"compress": "true"}):
        spec = exec_pb2.ContainerSpec(labels={"x": "1"}, log=exec_pb2.LogSpec(options=options))
        container = await old.create("/bin/true", spec=spec)
        with pytest.raises(Unavailable) as refused:
            await old.begin(container)
        assert refused.value.reason == "OLD_ZYGOTE"
        await old.remove(container)
    assert await old.fsck() == []
