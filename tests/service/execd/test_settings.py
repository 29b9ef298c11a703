"""What a container is made to be, seen from inside it and in the kernel."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from chassis import kernel
from chassis.errors import InvalidArgument
from pier.exec.v1 import exec_pb2
from pier.types.v1 import types_pb2
from tests.service.execd.service import Execd


async def test_environment_user_directory_and_hostname(service: Execd) -> None:
    spec = exec_pb2.ContainerSpec(hostname="box")
    container = await service.run(
        "/bin/sh", "-c",
        "id -u; id -g; id -G; pwd; hostname; echo $HOME $A $PATH; umask; grep -E 'Cap|Sec|NoNew' /proc/self/status",
        spec=spec, user="alice", cwd=b"/made/here", env=[b"A=1"], no_new_privileges=True,
    )
    await service.wait(container)
    lines = (await service.logs(container)).decode().split("\n")
    assert lines[:7] == ["1000", "1001", "1001 10", "/made/here", "box",
                         "/home/alice 1 /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "0022"], lines
    status = dict(line.split(":\t") for line in lines[7:] if line)
    assert (status["CapInh"], status["CapEff"], status["CapAmb"]) == ("0" * 16, "0" * 16, "0" * 16)
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    assert status["CapBnd"] == "00000000a80425fb"


async def test_a_privileged_one_has_all_that_the_engine_has_and_no_filter(service: Execd) -> None:
    container = await service.run(
        "/bin/sh", "-c", "grep -E 'CapEff|Seccomp:' /proc/self/status; ls /dev | wc -l; touch /sys/x 2>&1; echo $?",
        spec=exec_pb2.ContainerSpec(privileged=True),
    )
    await service.wait(container)
    output = (await service.logs(container)).decode()
    status = Path("/proc/self/status").read_text().splitlines()
    own = next(line for line in status if line.startswith("CapBnd")).split()[1]
    assert f"CapEff:\t{own}" in output
    assert "Seccomp:\t0" in output


async def test_binds_are_there_and_read_only_ones_are_read_only(service: Execd) -> None:
    shared = service.base / "shared"
    shared.mkdir()
    (shared / "file").write_text("from the host\n")
    entry = types_pb2.MountSpec(type="bind", source=os.fsencode(shared), target=b"/data", recursive=True)
    read_only = types_pb2.MountSpec(type="bind", source=os.fsencode(shared), target=b"/made/fixed",
                                    options=[types_pb2.MountOption(key="ro")])
    container = await service.run(
        "/bin/sh", "-c",
        "cat /data/file; echo back > /data/new; echo x > /made/fixed/y || echo refused; stat -c %A /made | cut -c-9",
        spec=exec_pb2.ContainerSpec(mounts=[entry, read_only]),
    )
    await service.wait(container)
    assert await service.logs(container) == b"from the host\nrefused\ndrwxr-xr-\n"
    assert (shared / "new").read_text() == "back\n"


async def test_a_read_only_root_refuses_writes(service: Execd) -> None:
    spec = exec_pb2.ContainerSpec(read_only_rootfs=True)
    container = await service.run("/bin/sh", "-c", "touch /x; echo $?", spec=spec)
    await service.wait(container)
    assert await service.logs(container) == b"1\n"


async def test_the_engines_files_are_mounted_over_an_images_links(service: Execd) -> None:
    canary = service.base / "canary"
    canary.write_text("untouched")
    (service.rootfs / "etc" / "hosts").symlink_to(canary)
    container = await service.create("/bin/sh", "-c", "cat /etc/hosts /etc/resolv.conf /etc/hostname")
    await service.begin(container, hosts=b"127.0.0.1 me\n", resolv_conf=b"nameserver 127.0.0.11\n", hostname=b"me\n")
    await service.wait(container)
    assert await service.logs(container) == b"127.0.0.1 me\nnameserver 127.0.0.11\nme\n"
    assert canary.read_text() == "untouched"
    found = await service.get(container)
    assert found.hosts_path.endswith(b"/hosts")


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
async def test_an_image_whose_system_directories_are_links_does_not_start(service: Execd, name: str) -> None:
    canary = service.base / "canary"
    canary.mkdir()
    (service.rootfs / name).rmdir()
    (service.rootfs / name).symlink_to(canary)
    container = await service.create("/bin/true")
    with pytest.raises(InvalidArgument, match="symbolic link"):
        await service.begin(container)
    assert list(canary.iterdir()) == []


async def test_limits_are_in_the_cgroup(service: Execd) -> None:
    resources = exec_pb2.Resources(memory=32 << 20, nano_cpus=500_000_000, pids=50)
    container = await service.run("/bin/sh", "-c", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes "
                                  "/sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/pids/pids.max",
                                  spec=exec_pb2.ContainerSpec(resources=resources))
    await service.wait(container)
    assert (await service.logs(container)).split() == [b"33554432", b"50000", b"50"]


async def test_an_oom_kill_is_told(service: Execd) -> None:
    container = await service.run(
        "/bin/sh", "-c", "head -c 200m /dev/zero | tail -c 150m > /dev/null",
        spec=exec_pb2.ContainerSpec(resources=exec_pb2.Resources(memory=16 << 20)),
    )
    assert (await service.wait(container)).oom_killed


@pytest.mark.parametrize("runtime", ["crun", "runc"])
async def test_each_runtime_runs_execs_and_ends_under_its_filter(service: Execd, runtime: str) -> None:
    # A cgroup namespace of its own, without which runc 1.1 fails on cgroup v1 inside another (as in a world).
    spec = exec_pb2.ContainerSpec(runtime=runtime, namespaces=[
        exec_pb2.NamespaceRef(kind=exec_pb2.NAMESPACE_KIND_CGROUP, fresh=True)
    ])
    container = await service.create("/bin/sh", "-c", "grep Seccomp: /proc/self/status; read x; exit 3", spec=spec,
                                     stdin_open=True, stdin_once=True)
    client = await service.attach(container)
    await service.begin(container)
    assert b"Seccomp:\t2" in await asyncio.to_thread(client.read_until, b"\n")
    assert await service.output(container, "/bin/grep", "Seccomp:", "/proc/self/status") == b"Seccomp:\t2\n"
    client.half_close()
    assert (await service.wait(container)).code == 3


async def test_what_is_mounted_below_a_shared_bind_reaches_the_host(service: Execd) -> None:
    shared = service.base / "shared"
    shared.mkdir()
    kernel.mount(b"tmpfs", os.fsencode(shared), b"tmpfs")
    kernel.mount(None, os.fsencode(shared), None, kernel.MS_SHARED)
    (shared / "below").mkdir()
    try:
        entry = types_pb2.MountSpec(type="bind", source=os.fsencode(shared), target=b"/data", recursive=True,
                                    propagation="rshared")
        container = await service.run(
            "/bin/sh", "-c", "mount -t tmpfs inside /data/below && echo mounted; read x",
            spec=exec_pb2.ContainerSpec(mounts=[entry], privileged=True), stdin_open=True, stdin_once=True,
        )
        while not await service.logs(container):
            await asyncio.sleep(0.01)
        assert os.path.ismount(shared / "below")
        kernel.umount(os.fsencode(shared / "below"))
        await service.remove(container)
    finally:
        kernel.umount(os.fsencode(shared), kernel.MNT_DETACH)


async def test_a_working_directory_and_command_lines_that_are_no_text_go_through(service: Execd) -> None:
    container = await service.create("/bin/echo", cwd=b"/d\xff", env=[b"A=\xfe\xff"])
    await service.begin(container)
    await service.wait(container)
    found = await service.get(container)
    assert found.spec.process.env[0] == b"A=\xfe\xff"
    assert found.status.exit.code == 0


@pytest.mark.parametrize("top,answer", [(False, b"refused\n"), (True, b"written\n")])
async def test_a_read_only_bind_is_so_with_the_mounts_below_it(service: Execd, top: bool, answer: bytes) -> None:
    place = service.base / "place"
    (place / "below").mkdir(parents=True)
    kernel.mount(b"tmpfs", os.fsencode(place / "below"), b"tmpfs")
    try:
        entry = types_pb2.MountSpec(type="bind", source=os.fsencode(place), target=b"/data", recursive=True,
                                    options=[types_pb2.MountOption(key="ro")], read_only_top=top)
        container = await service.run(
            "/bin/sh", "-c", "touch /data/x; touch /data/below/x && echo written || echo refused",
            spec=exec_pb2.ContainerSpec(mounts=[entry]),
        )
        await service.wait(container)
        assert await service.logs(container, stderr=False) == answer
        assert not (place / "x").exists()
        await service.remove(container)
    finally:
        kernel.umount(os.fsencode(place / "below"), kernel.MNT_DETACH)


@pytest.mark.parametrize("kind,words", [("rshared", "not a shared mount"), ("slave", "not a shared or slave mount")])
async def test_a_bind_that_could_follow_nobody_is_refused(service: Execd, kind: str, words: str) -> None:
    alone = service.base / "alone mount"
    alone.mkdir()
    kernel.mount(b"tmpfs", os.fsencode(alone), b"tmpfs")
    kernel.mount(None, os.fsencode(alone), None, kernel.MS_PRIVATE)
    try:
        entry = types_pb2.MountSpec(type="bind", source=os.fsencode(alone), target=b"/data", recursive=True,
                                    propagation=kind)
        with pytest.raises(InvalidArgument, match=f"path (.*/alone mount) is mounted on \\1 but it is {words}"):
            await service.run("/bin/true", spec=exec_pb2.ContainerSpec(mounts=[entry]))
    finally:
        kernel.umount(os.fsencode(alone), kernel.MNT_DETACH)
