"""``AsyncPier``: the client for asyncio, method by method as ``Pier``. What streams is an async iterator."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from pier.engine.v1 import (
    container_pb2,
    container_pb2_grpc,
    engine_pb2,
    engine_pb2_grpc,
    image_pb2,
    image_pb2_grpc,
    network_pb2,
    network_pb2_grpc,
    volume_pb2,
    volume_pb2_grpc,
)
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2 as images_pb2
from pier.network.v1 import network_pb2 as networks_pb2
from pier_client import channels, requests
from pier_client.aio_session import Session
from pier_client.channels import Tls
from pier_client.errors import told
from pier_client.requests import Word
from pier_client.results import ExecResult, RunResult, code_of


class _Calls:
    """Calls of one stub; ``timeout`` in seconds is that of calls which name none."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    async def call(self, method: Any, request: Any, timeout: float | None = None) -> Any:
        with told():
            return await method(request, timeout=self._timeout if timeout is None else timeout)

    async def stream(self, method: Any, request: Any) -> AsyncGenerator[Any, None]:
        """Answers as they come. Closing the generator ends the call."""
        call = method(request)
        try:
            with told():
                async for answer in call:
                    yield answer
        finally:
            call.cancel()


class AsyncPier:
    """An engine at ``address`` (unix:///PATH or tcp://HOST:PORT). Close it, or use it as a context manager.

    ``timeout`` in seconds holds for each call but streams, and not for what waits by its nature (stop, wait).
    """

    def __init__(self, address: str = channels.DEFAULT, *, tls: Tls | None = None, timeout: float = 60.0) -> None:
        self.channel = channels.aio_channel(address, tls)
        self._calls = _Calls(timeout)
        self._engine = engine_pb2_grpc.EngineServiceStub(self.channel)
        self.containers = Containers(container_pb2_grpc.ContainerServiceStub(self.channel), self._calls)
        self.images = Images(image_pb2_grpc.ImageServiceStub(self.channel), self._calls)
        self.networks = Networks(network_pb2_grpc.NetworkServiceStub(self.channel), self._calls)
        self.volumes = Volumes(volume_pb2_grpc.VolumeServiceStub(self.channel), self._calls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self.channel.close(None)

    async def info(self) -> engine_pb2.GetInfoResponse:
        answer: engine_pb2.GetInfoResponse = await self._calls.call(self._engine.GetInfo, engine_pb2.GetInfoRequest())
        return answer

    def events(
        self, after: str = "", *, since: datetime | None = None, until: datetime | None = None,
        types: Iterable[str] = (), actions: Iterable[str] = (), ids: Iterable[str] = (),
    ) -> AsyncIterator[engine_pb2.EventsResponse]:
        """What happens. The first answer has no event, but the cursor where the stream begins; whoever gives back the
        last cursor as ``after`` misses nothing, or is told by EVENTS_GAP."""
        return self._calls.stream(self._engine.Events, requests.events(after, since, until, types, actions, ids))


class Containers:
    """``container`` is an id, a name, or a unique prefix of an id."""

    def __init__(self, stub: Any, calls: _Calls) -> None:
        self._stub = stub
        self._calls = calls

    async def create(
        self, image: str, command: Sequence[Word] | None = None, **options: Any
    ) -> container_pb2.Container:
        """``options`` are those of ``pier_client.requests.create``."""
        answer: container_pb2.CreateContainerResponse = await self._calls.call(
            self._stub.CreateContainer, requests.create(image, command, **options))
        return answer.container

    async def start(self, container: str, *, operation_id: str = "") -> container_pb2.Container:
        answer: container_pb2.StartContainerResponse = await self._calls.call(
            self._stub.StartContainer,
            container_pb2.StartContainerRequest(container=container, operation_id=operation_id))
        return answer.container

    async def stop(
        self, container: str, *, timeout: int | None = None, signal: str = "", operation_id: str = ""
    ) -> None:
        """Answers when it has ended: after ``timeout`` seconds (its own where not given) it is killed."""
        await self._calls.call(self._stub.StopContainer, container_pb2.StopContainerRequest(
            container=container, timeout=timeout, signal=signal, operation_id=operation_id), _LONG)

    async def restart(self, container: str, *, timeout: int | None = None, operation_id: str = "") -> None:
        await self._calls.call(self._stub.RestartContainer, container_pb2.RestartContainerRequest(
            container=container, timeout=timeout, operation_id=operation_id), _LONG)

    async def kill(self, container: str, signal: str = "", *, operation_id: str = "") -> None:
        await self._calls.call(self._stub.KillContainer, container_pb2.KillContainerRequest(
            container=container, signal=signal, operation_id=operation_id))

    async def pause(self, container: str, *, operation_id: str = "") -> None:
        await self._calls.call(self._stub.PauseContainer, container_pb2.PauseContainerRequest(
            container=container, operation_id=operation_id))

    async def unpause(self, container: str, *, operation_id: str = "") -> None:
        await self._calls.call(self._stub.UnpauseContainer, container_pb2.UnpauseContainerRequest(
            container=container, operation_id=operation_id))

    async def rename(self, container: str, name: str, *, operation_id: str = "") -> None:
        await self._calls.call(self._stub.RenameContainer, container_pb2.RenameContainerRequest(
            container=container, name=name, operation_id=operation_id))

    async def remove(
        self, container: str, *, force: bool = False, with_volumes: bool = False, operation_id: str = ""
    ) -> None:
        await self._calls.call(self._stub.RemoveContainer, container_pb2.RemoveContainerRequest(
            container=container, force=force, with_volumes=with_volumes, operation_id=operation_id))

    async def get(self, container: str) -> container_pb2.GetContainerResponse:
        answer: container_pb2.GetContainerResponse = await self._calls.call(
            self._stub.GetContainer, container_pb2.GetContainerRequest(container=container))
        return answer

    async def list(
        self, *, states: Iterable[exec_pb2.ContainerState.ValueType] = (), labels: Mapping[str, str] | None = None
    ) -> list[container_pb2.Container]:
        """Newest first."""
        request = container_pb2.ListContainersRequest(states=states, labels=labels)
        return [
            each async for batch in self._calls.stream(self._stub.ListContainers, request) for each in batch.containers
        ]

    async def wait(
        self, container: str,
        condition: exec_pb2.WaitCondition.ValueType = exec_pb2.WAIT_CONDITION_NOT_RUNNING,
    ) -> exec_pb2.Exit:
        """How it ended, when it has."""
        request = container_pb2.WaitContainerRequest(container=container, condition=condition)
        answers = [each async for each in self._calls.stream(self._stub.WaitContainer, request)]
        exit_: exec_pb2.Exit = answers[-1].exit
        return exit_

    async def logs(self, container: str, **options: Any) -> AsyncIterator[exec_pb2.LogRecord]:
        """``options`` are those of ``pier_client.requests.logs``."""
        async for batch in self._calls.stream(self._stub.ReadLogs, requests.logs(container, **options)):
            for record in batch.records:
                yield record

    async def stats(self, container: str, *, once: bool = False) -> AsyncIterator[exec_pb2.StatsResponse]:
        """A sample a second, or one."""
        request = container_pb2.ContainerStatsRequest(container=container, once=once)
        async for each in self._calls.stream(self._stub.ContainerStats, request):
            yield each.stats

    async def processes(self, container: str) -> Sequence[exec_pb2.ProcessInfo]:
        answer: container_pb2.ListProcessesResponse = await self._calls.call(
            self._stub.ListProcesses, container_pb2.ListProcessesRequest(container=container))
        return answer.processes

    def attach(self, container: str, *, stdin: bool = False, detach_keys: str = "") -> Session:
        """Its terminal or pipes, also before its start; nothing is missed from then on."""
        asked = container_pb2.AttachOpen(container=container, stdin=stdin, detach_keys=detach_keys)
        return Session(self._stub.Attach, container_pb2.AttachRequest(open=asked), container_pb2.AttachRequest)

    def open_exec(
        self, container: str, command: Sequence[Word], *, detach_keys: str = "", operation_id: str = "", **options: Any
    ) -> Session:
        """A further process, attached. ``options`` are those of ``pier_client.requests.process``."""
        asked = container_pb2.ExecOpen(
            operation_id=operation_id, container=container, process=requests.process(command, **options), attach=True,
            detach_keys=detach_keys)
        return Session(self._stub.Exec, container_pb2.ExecRequest(open=asked), container_pb2.ExecRequest)

    async def exec_of(self, exec_id: str) -> exec_pb2.Exec:
        """A further process that was begun: whether it runs, and how it ended."""
        answer: container_pb2.GetExecResponse = await self._calls.call(
            self._stub.GetExec, container_pb2.GetExecRequest(exec_id=exec_id))
        return answer.exec

    async def exec(
        self, container: str, command: Sequence[Word], *, input: bytes | None = None, **options: Any  # noqa: A002
    ) -> ExecResult:
        """Run a further process to its end."""
        async with self.open_exec(container, command, stdin=input is not None, **options) as session:
            if input is not None:
                await session.send(input)
            await session.end_input()
            stdout, stderr = await session.read()
        return ExecResult(None if session.exit is None else code_of(session.exit), stdout, stderr)

    async def run(
        self, image: str, command: Sequence[Word] | None = None, *, input: bytes | None = None, **options: Any  # noqa: A002
    ) -> RunResult:
        """Make a container, run it to its end, remove it."""
        id_ = (await self.create(image, command, stdin=input is not None, **options)).record.id
        try:
            async with self.attach(id_, stdin=input is not None) as session:
                await self.start(id_)
                if input is not None:
                    await session.send(input)
                await session.end_input()
                stdout, stderr = await session.read()
            exit_ = await self.wait(id_)
        finally:
            await self.remove(id_, force=True, with_volumes=True)
        return RunResult(id_, code_of(exit_), stdout, stderr)


class Images:
    def __init__(self, stub: Any, calls: _Calls) -> None:
        self._stub = stub
        self._calls = calls

    async def list(self) -> list[images_pb2.Image]:
        """Newest first, without their configs."""
        return [
            each async for batch in self._calls.stream(self._stub.ListImages, image_pb2.ListImagesRequest())
            for each in batch.images
        ]

    async def get(self, image: str) -> images_pb2.Image:
        answer: image_pb2.GetImageResponse = await self._calls.call(
            self._stub.GetImage, image_pb2.GetImageRequest(image=image))
        return answer.image

    async def pull(self, reference: str, *, auth: images_pb2.RegistryAuth | None = None) -> images_pb2.PullEnd:
        """Fetch it; what was fetched."""
        (end,) = [each.end async for each in self.pulling(reference, auth=auth) if each.HasField("end")]
        return end

    def pulling(
        self, reference: str, *, auth: images_pb2.RegistryAuth | None = None
    ) -> AsyncIterator[image_pb2.PullImageResponse]:
        """Fetch it, and see how it goes on."""
        return self._calls.stream(self._stub.PullImage, image_pb2.PullImageRequest(reference=reference, auth=auth))

    async def push(self, reference: str, *, auth: images_pb2.RegistryAuth | None = None) -> images_pb2.Descriptor:
        """Send it to its registry; the manifest that is there now."""
        request = image_pb2.PushImageRequest(reference=reference, auth=auth)
        answers = [each async for each in self._calls.stream(self._stub.PushImage, request)]
        manifest: images_pb2.Descriptor = answers[-1].manifest
        return manifest

    async def remove(
        self, image: str, *, force: bool = False, operation_id: str = ""
    ) -> image_pb2.RemoveImageResponse:
        answer: image_pb2.RemoveImageResponse = await self._calls.call(
            self._stub.RemoveImage,
            image_pb2.RemoveImageRequest(image=image, force=force, operation_id=operation_id))
        return answer

    async def tag(self, image: str, reference: str, *, operation_id: str = "") -> images_pb2.Image:
        answer: image_pb2.TagImageResponse = await self._calls.call(
            self._stub.TagImage,
            image_pb2.TagImageRequest(image=image, reference=reference, operation_id=operation_id))
        return answer.image


class Networks:
    def __init__(self, stub: Any, calls: _Calls) -> None:
        self._stub = stub
        self._calls = calls

    async def create(
        self, name: str, spec: networks_pb2.NetworkSpec | None = None, *, operation_id: str = ""
    ) -> networks_pb2.Network:
        """A bridge network where ``spec`` says nothing else."""
        answer: network_pb2.CreateNetworkResponse = await self._calls.call(
            self._stub.CreateNetwork,
            network_pb2.CreateNetworkRequest(name=name, spec=spec, operation_id=operation_id))
        return answer.network

    async def get(self, network: str) -> network_pb2.GetNetworkResponse:
        answer: network_pb2.GetNetworkResponse = await self._calls.call(
            self._stub.GetNetwork, network_pb2.GetNetworkRequest(network=network))
        return answer

    async def list(self) -> list[networks_pb2.Network]:
        return [
            each async for batch in self._calls.stream(self._stub.ListNetworks, network_pb2.ListNetworksRequest())
            for each in batch.networks
        ]

    async def remove(self, network: str, *, operation_id: str = "") -> None:
        await self._calls.call(
            self._stub.RemoveNetwork, network_pb2.RemoveNetworkRequest(network=network, operation_id=operation_id))

    async def connect(
        self, network: str, container: str, spec: networks_pb2.EndpointSpec | None = None, *, operation_id: str = ""
    ) -> None:
        await self._calls.call(self._stub.ConnectContainer, network_pb2.ConnectContainerRequest(
            network=network, container=container, spec=spec, operation_id=operation_id))

    async def disconnect(self, network: str, container: str, *, operation_id: str = "") -> None:
        await self._calls.call(self._stub.DisconnectContainer, network_pb2.DisconnectContainerRequest(
            network=network, container=container, operation_id=operation_id))


class Volumes:
    def __init__(self, stub: Any, calls: _Calls) -> None:
        self._stub = stub
        self._calls = calls

    async def create(
        self, name: str = "", *, driver: str = "", options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None, operation_id: str = "",
    ) -> images_pb2.Volume:
        answer: volume_pb2.CreateVolumeResponse = await self._calls.call(
            self._stub.CreateVolume, volume_pb2.CreateVolumeRequest(
                name=name, driver=driver, options=options, labels=labels, operation_id=operation_id))
        return answer.volume

    async def get(self, volume: str) -> images_pb2.Volume:
        answer: volume_pb2.GetVolumeResponse = await self._calls.call(
            self._stub.GetVolume, volume_pb2.GetVolumeRequest(volume=volume))
        return answer.volume

    async def list(self) -> list[images_pb2.Volume]:
        return [
            each async for batch in self._calls.stream(self._stub.ListVolumes, volume_pb2.ListVolumesRequest())
            for each in batch.volumes
        ]

    async def remove(self, volume: str, *, operation_id: str = "") -> int:
        """The bytes that this freed."""
        answer: volume_pb2.RemoveVolumeResponse = await self._calls.call(
            self._stub.RemoveVolume, volume_pb2.RemoveVolumeRequest(volume=volume, operation_id=operation_id))
        return answer.freed_bytes


_LONG = 365 * 86400.0
"""Seconds: a container may have any time to stop."""
