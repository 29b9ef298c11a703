"""aiodocker and testcontainers, each in what it is used for."""

import io
import socket
import tarfile

import aiodocker
import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import ExecWaitStrategy, LogMessageWaitStrategy


@pytest.fixture
async def docker(engine):
    """aiodocker's client."""
    async with aiodocker.Docker(url=engine.host) as docker:
        yield docker


async def test_aiodocker_runs_attaches_and_reads(docker):
    container = await docker.containers.create_or_replace("aio", {
        "Image": "busybox", "Cmd": ["cat"], "OpenStdin": True, "StdinOnce": True, "AttachStdin": True,
        "AttachStdout": True, "Labels": {"kind": "aio"},
    })
    async with container.attach(stdin=True, stdout=True, stderr=True) as stream:
        await container.start()
        await stream.write_in(b"through\n")
        message = await stream.read_out()
        assert (message.stream, message.data) == (1, b"through\n")
    assert (await container.wait())["StatusCode"] == 0
    assert await container.log(stdout=True) == ["through\n"]
    (found,) = await docker.containers.list(all=True, filters={"label": ["kind=aio"]})
    assert (await found.show())["State"]["ExitCode"] == 0
    await found.delete(force=True, v=True)
    with pytest.raises(aiodocker.DockerError) as caught:
        await docker.containers.get("aio")
    assert caught.value.status == 404


async def test_aiodocker_executes_copies_and_follows_events(docker):
    subscriber = docker.events.subscribe()
    container = await docker.containers.run({"Image": "busybox", "Cmd": ["sleep", "1000"]}, name="aioexec")
    execution = await container.exec(["sh", "-c", "cat; echo err >&2; exit 5"], stdin=True)
    async with execution.start() as stream:
        await stream.write_in(b"in\n")
        first = await stream.read_out()
        assert first.data == b"in\n"
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        info = tarfile.TarInfo("file")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    await container.put_archive("/tmp", raw.getvalue())
    archive = await container.get_archive("/tmp/file")
    assert archive.extractfile("file").read() == b"abc"
    stats = await container.stats(stream=False)
    assert stats[0]["name"] == "/aioexec"
    await container.kill()
    await container.delete(force=True)
    seen = []
    while "destroy" not in seen:
        event = await subscriber.get()
        assert event is not None
        seen.append(event["Action"])
    assert {"create", "start", "die", "destroy"} <= set(seen)


async def test_aiodocker_makes_images_networks_and_volumes(docker):
    image = await docker.images.inspect("busybox")
    await docker.images.tag("busybox", "aiotag", tag="1")
    assert (await docker.images.inspect("aiotag:1"))["Id"] == image["Id"]
    assert {"Untagged": "aiotag:1"} in await docker.images.delete("aiotag:1")
    network = await docker.networks.create({"Name": "aionet", "Labels": {"a": "b"}})
    container = await docker.containers.create({"Image": "busybox", "Cmd": ["true"]})
    await network.connect({"Container": container.id})
    assert "aionet" in (await container.show())["NetworkSettings"]["Networks"]
    await network.disconnect({"Container": container.id})
    await container.delete()
    assert await network.delete()
    volume = await docker.volumes.create({"Name": "aiovol"})
    assert (await volume.show())["Driver"] == "local"
    await volume.delete()
    assert (await docker.system.info())["OSType"] == "linux"
    assert (await docker.version())["ApiVersion"]


@pytest.fixture
def testcontainers(engine, monkeypatch):
    """testcontainers finds the engine by its environment, and cleans up itself: its reaper is an image of the net's."""
    for name, value in (("DOCKER_HOST", engine.host), ("TESTCONTAINERS_RYUK_DISABLED", "true")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("testcontainers.core.config.testcontainers_config.ryuk_disabled", True)
    return DockerClient


def test_testcontainers_waits_for_a_real_redis_and_speaks_to_it(testcontainers, redis):
    container = DockerContainer(redis).with_exposed_ports(6379).waiting_for(
        LogMessageWaitStrategy("Ready to accept connections"))
    with container as server:
        where = (server.get_container_host_ip(), int(server.get_exposed_port(6379)))
        with socket.create_connection(where, timeout=10) as client:
            client.sendall(b"SET key value\r\nGET key\r\n")
            answer = b""
            while not answer.endswith(b"value\r\n"):
                answer += client.recv(1000)
        assert server.exec(["redis-cli", "GET", "key"]).output == b"value\n"
        out, _ = server.get_logs()
        assert b"Ready to accept" in out
    assert testcontainers().client.containers.list(all=True) == []


def test_testcontainers_joins_containers_by_a_networks_aliases(testcontainers, redis):
    with Network() as network:
        server = DockerContainer(redis).with_network(network).with_network_aliases("store").waiting_for(
            ExecWaitStrategy(["redis-cli", "PING"]))
        with server, DockerContainer(redis).with_network(network).with_command("sleep 1000") as asker:
            assert asker.exec(["redis-cli", "-h", "store", "PING"]).output == b"PONG\n"
