"""imaged, netd and execd as far as the coordinator's rules go, in memory, and a way to make any of their calls fail."""

import asyncio
from types import SimpleNamespace
from typing import Any

from chassis.errors import AlreadyExists, Conflict, Internal, NotFound
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2
from pier.network.v1 import network_pb2
from pier.system.v1 import system_pb2
from pier.types.v1 import types_pb2

IMAGE_ID = "sha256:" + "1" * 64


FILES = network_pb2.NameFiles(hosts=b"h", resolv_conf=b"r", hostname=b"n")


class FakePeer:
    """Carries calls out one by one. ``fail_at`` is the number of the first call that fails, counted over all peers;
    ``fail_for`` is how many do."""

    def __init__(self, world):
        self._world = world

    async def call(self, method, request, timeout=None):
        world = self._world
        world.calls.append(method.__name__)
        await asyncio.sleep(0)
        if 0 <= len(world.calls) - world.fail_at < world.fail_for:
            if world.fail_after:
                method(request)
            raise Internal("made to fail", reason="FAULT")
        return method(request)


class FakeWorld:
    """The state of the three services, and ``services`` to hand to a Coordinator."""

    def __init__(self, config=b'{"config":{"Cmd":["sh"]}}'):
        self.calls = []
        self.fail_at = 0
        self.fail_for = 1
        self.fail_after = False
        self.config = config
        self.records = {}
        self.snapshots = set()
        self.told: list[tuple[str, str]] = []
        self.sandboxes = set()
        self.traces = []
        peer = FakePeer(self)
        self.services: Any = SimpleNamespace(
            manager="gateway", imaged=peer, netd=peer, execd=peer,
            namespace="docker", owner=lambda id_: types_pb2.Owner(manager="gateway", namespace="docker", id=id_),
            sandbox_owner=lambda id_: types_pb2.Owner(manager="gateway", namespace="docker", id=id_),
            images=self, snapshots=self, networks=self, containers=self, system=lambda _: self,
            unsettled=asyncio.Event(),
        )

    @property
    def left(self):
        return (set(self.records), self.snapshots, self.sandboxes)

    def record(self, id_):
        if id_ not in self.records:
            raise NotFound(f"No such container: {id_}")
        return self.records[id_]

    def Info(self, request):
        return system_pb2.InfoResponse(boot_id="now")

    # imaged
    def GetImage(self, request):
        if request.image == "missing":
            raise NotFound("No such image: missing:latest")
        return image_pb2.GetImageResponse(image=image_pb2.Image(id=IMAGE_ID, config=self.config))

    def Commit(self, request):
        assert request.snapshot in self.snapshots
        return image_pb2.CommitResponse(image=image_pb2.Image(id=IMAGE_ID))

    def PrepareSnapshot(self, request):
        self.snapshots.add(request.key)
        mounts = [types_pb2.MountSpec(type="overlay")]
        return image_pb2.PrepareSnapshotResponse(snapshot=image_pb2.Snapshot(key=request.key, mounts=mounts))

    def RemoveSnapshot(self, request):
        self.snapshots.discard(request.key)
        return image_pb2.RemoveSnapshotResponse()

    def ListSnapshots(self, request):
        return image_pb2.ListSnapshotsResponse(snapshots=[image_pb2.Snapshot(key=key) for key in self.snapshots])

    # netd
    def CreateSandbox(self, request):
        if any(port.host_port == 1 for attachment in request.attachments for port in attachment.ports):
            raise Conflict("Bind for 0.0.0.0:1 failed: port is already allocated", reason="PORT_TAKEN")
        self.sandboxes.add(request.id)
        sandbox = network_pb2.Sandbox(id=request.id, netns_path=b"/run/netns/x", host=request.host)
        return network_pb2.CreateSandboxResponse(sandbox=sandbox, files=FILES)

    def GetSandbox(self, request):
        if request.id not in self.sandboxes:
            raise NotFound("no such sandbox")
        sandbox = network_pb2.Sandbox(id=request.id, netns_path=b"/run/netns/x")
        return network_pb2.GetSandboxResponse(sandbox=sandbox)

    def RenderFiles(self, request):
        return network_pb2.RenderFilesResponse(files=FILES)

    def RemoveSandbox(self, request):
        self.sandboxes.discard(request.id)
        return network_pb2.RemoveSandboxResponse()

    def ListSandboxes(self, request):
        return network_pb2.ListSandboxesResponse(sandboxes=[network_pb2.Sandbox(id=id_) for id_ in self.sandboxes])

    # execd
    def CreateContainer(self, request):
        if any(record.name == request.name for record in self.records.values()):
            raise AlreadyExists("the name is taken", reason="NAME_TAKEN")
        container = exec_pb2.Container(
            id=request.id, name=request.name, owner=request.owner, spec=request.spec, extensions=request.extensions
        )
        container.status.state = exec_pb2.CONTAINER_STATE_CREATING
        self.records[request.id] = container
        return exec_pb2.CreateContainerResponse(container=container)

    def CompleteContainer(self, request):
        container = self.record(request.id)
        container.rootfs.extend(request.rootfs)
        container.status.state = exec_pb2.CONTAINER_STATE_CREATED
        return exec_pb2.CompleteContainerResponse(container=container)

    def StartContainer(self, request):
        container = self.record(request.id)
        assert request.namespaces
        assert (request.hosts, request.resolv_conf, request.hostname) == (b"h", b"r", b"n")
        container.status.state = exec_pb2.CONTAINER_STATE_RUNNING
        return exec_pb2.StartContainerResponse(container=container)

    def PauseContainer(self, request):
        container = self.record(request.id)
        if container.status.state != exec_pb2.CONTAINER_STATE_RUNNING:
            raise Conflict("it does not run, or is paused", reason="PAUSED")
        container.status.state = exec_pb2.CONTAINER_STATE_PAUSED
        return exec_pb2.PauseContainerResponse()

    def UnpauseContainer(self, request):
        container = self.record(request.id)
        if container.status.state != exec_pb2.CONTAINER_STATE_PAUSED:
            raise Conflict("it is not paused", reason="NOT_PAUSED")
        container.status.state = exec_pb2.CONTAINER_STATE_RUNNING
        return exec_pb2.UnpauseContainerResponse()

    def SetExtension(self, request):
        self.record(request.id).extensions[request.key].CopyFrom(request.value)
        return exec_pb2.SetExtensionResponse()

    def RecordFailure(self, request):
        self.record(request.id).status.error = request.message
        return exec_pb2.RecordFailureResponse()

    def RecordEvent(self, request):
        self.told.append((request.id, request.action))
        return exec_pb2.RecordEventResponse()

    def StopContainer(self, request):
        self.end(request.id)
        return exec_pb2.StopContainerResponse(container=self.record(request.id))

    def GetContainer(self, request):
        copy = exec_pb2.Container()
        copy.CopyFrom(self.record(request.container))
        return exec_pb2.GetContainerResponse(container=copy)

    def ListContainers(self, request):
        return exec_pb2.ListContainersResponse(containers=self.records.values())

    def BeginRemove(self, request):
        container = self.record(request.id)
        if container.status.state == exec_pb2.CONTAINER_STATE_RUNNING and not request.force:
            raise Conflict("container is running", reason="RUNNING")
        container.status.state = exec_pb2.CONTAINER_STATE_REMOVING
        return exec_pb2.BeginRemoveResponse(container=container)

    def FinishRemove(self, request):
        self.record(request.id)
        del self.records[request.id]
        return exec_pb2.FinishRemoveResponse()

    def RecordTrace(self, request):
        self.traces.append((request.id, request.root))
        return exec_pb2.RecordTraceResponse()

    def end(self, id_):
        self.record(id_).status.state = exec_pb2.CONTAINER_STATE_EXITED
