"""Where a container's cgroup lies, and the real-time scheduler's share of it: as the kernel says."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chassis.errors import Conflict, InvalidArgument
from execd import realtime
from execd.oci import cgroup_parent
from pier.exec.v1 import exec_pb2
from tests.service.execd.service import Execd

CGROUPS = Path("/sys/fs/cgroup")


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[str]:
    """A cgroup of the operator's own; the engine leaves it, empty."""
    name = f"pier-own-{tmp_path.name}"
    yield f"/{name}/night"
    for path in sorted(CGROUPS.glob(f"*/{name}/**/"), key=lambda path: -len(path.parts)):
        path.rmdir()


def memberships(pid: int) -> set[str]:
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return {path for _, controllers, path in (line.split(":", 2) for line in lines) if controllers}


async def test_a_cgroup_parent_is_below_the_instances_own_or_where_its_path_says(service: Execd, outside: str) -> None:
    for parent, wanted in (("batch/a", f"/{service.instance.cgroup_parent}/batch/a"), (outside, outside)):
        container = await service.run("/bin/sleep", "1000", spec=exec_pb2.ContainerSpec(
            cgroup_parent=parent, resources=exec_pb2.Resources(pids=55)))
        found = await service.get(container)
        assert {path for path in memberships(found.status.pid) if container in path} == {f"{wanted}/{container}"}
        assert (CGROUPS / f"pids{wanted}/{container}/pids.max").read_text().strip() == "55"
        await service.call("PauseContainer", exec_pb2.PauseContainerRequest(id=container))
        await service.call("UnpauseContainer", exec_pb2.UnpauseContainerRequest(id=container))
        await service.kill()
        await service.start()
        assert (await service.get(container)).status.state == exec_pb2.CONTAINER_STATE_RUNNING
        assert await service.fsck() == []
        await service.remove(container)
        assert not list(CGROUPS.glob(f"*{wanted}/{container}"))


@pytest.fixture
def kept_read_only() -> Iterator[None]:
    """The directory that hierarchies are mounted in can be written to by nobody, as systemd has it."""
    if (CGROUPS / "cgroup.controllers").exists():
        pytest.skip("hierarchies of version 2 alone stand in no directory")
    subprocess.run(["mount", "-n", "-o", "remount,ro", CGROUPS], check=True)
    yield
    subprocess.run(["mount", "-n", "-o", "remount,rw", CGROUPS], check=True)


async def test_a_container_runs_where_no_directory_beside_the_hierarchies_can_be_made(
    service: Execd, kept_read_only: None
) -> None:
    container = await service.run("/bin/sh", "-c", "exit 3")
    assert (await service.wait(container)).code == 3


async def test_nothing_is_left_where_the_hierarchy_of_version_2_is_mounted(service: Execd, tmp_path: Path) -> None:
    """Newer cruns make a directory there, where the shim has hidden it."""
    container = await service.run("/bin/true")
    assert (await service.wait(container)).code == 0
    look = f"mount -n --bind {CGROUPS} {tmp_path} && ls -A {tmp_path}/unified"
    seen = await asyncio.create_subprocess_exec("unshare", "-m", "sh", "-c", look, stdout=subprocess.PIPE)
    assert (await seen.communicate())[0] == b""
    assert seen.returncode == 0 or not (CGROUPS / "unified").exists()


@pytest.mark.parametrize("parent", ["machine.slice", "../up", "a/../b", "/a//b", "shims", "a\nb", "/" + "x" * 300])
def test_what_is_no_cgroups_path_is_refused(parent: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        cgroup_parent.check(parent, "spec.cgroup_parent")
    assert refused.value.reason == "BAD_CGROUP"


async def test_a_real_time_share_is_the_kernels_or_refused_with_its_reason(service: Execd) -> None:
    spec = exec_pb2.ContainerSpec(resources=exec_pb2.Resources(cpu_rt_period=1_000_000, cpu_rt_runtime=20_000))
    root = realtime.root()
    if root is None:
        with pytest.raises(InvalidArgument, match="does not support CPU real-time"):
            await service.create("/bin/true", spec=spec)
        return
    container = await service.create("/bin/sleep", "1000", spec=spec)
    share = root / "cpu.rt_runtime_us"
    try:
        share.write_text("100000")  # of the world's own cgroup, as an operator would
    except OSError:
        with pytest.raises(Conflict) as refused:
            await service.begin(container)
        assert refused.value.reason == "NO_REALTIME"
        return
    await service.begin(container)
    own = root / service.instance.cgroup_parent / container
    assert (own / "cpu.rt_runtime_us").read_text().strip() == "20000"
    await service.call("UpdateContainer", exec_pb2.UpdateContainerRequest(
        id=container, resources=exec_pb2.Resources(cpu_rt_runtime=30_000)))
    assert (own / "cpu.rt_runtime_us").read_text().strip() == "30000"
