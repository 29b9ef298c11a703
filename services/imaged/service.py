"""pier.image.v1 on the wire: requests in, one call each, messages out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from chassis.errors import InvalidArgument
from chassis.ids import namespace as check_namespace
from chassis.server import first_of
from imaged import (
    apply,
    catalog,
    commit,
    commit_snapshot,
    content,
    create_image,
    differences,
    gc,
    images,
    importing,
    load,
    read_file,
    registries,
    save,
    snapshot_files,
    snapshots,
    untag,
    volumes,
)
from imaged.pull import Pull
from imaged.push import Push
from imaged.state import State
from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc

_PAGE: Final = 500
_PAGE_MAX: Final = 1000


def _page_size(asked: int) -> int:
    return min(asked or _PAGE, _PAGE_MAX)


class Images(rpc.ImageServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def Pull(self, request: pb.PullRequest, context: Any) -> AsyncIterator[pb.PullResponse]:
        async for message in Pull(self._state, request).run():
            yield message

    async def Load(
        self, request_iterator: AsyncIterator[pb.LoadRequest], context: Any
    ) -> AsyncIterator[pb.LoadResponse]:
        first = await first_of(request_iterator)

        async def data() -> AsyncIterator[bytes]:
            yield first.data
            async for request in request_iterator:
                yield request.data

        async for message in load.load(self._state, first.namespace, data()):
            yield message

    async def Import(self, request_iterator: AsyncIterator[pb.ImportRequest], context: Any) -> pb.ImportResponse:
        first = await first_of(request_iterator)

        async def data() -> AsyncIterator[bytes]:
            yield first.data
            async for request in request_iterator:
                yield request.data

        return pb.ImportResponse(image=await importing.import_image(self._state, first.options, data()))

    async def GetRemoteImage(self, request: pb.GetRemoteImageRequest, context: Any) -> pb.GetRemoteImageResponse:
        return await registries.remote_image(self._state, request)

    async def ListRemoteTags(self, request: pb.ListRemoteTagsRequest, context: Any) -> pb.ListRemoteTagsResponse:
        return await registries.remote_tags(self._state, request)

    async def Login(self, request: pb.LoginRequest, context: Any) -> pb.LoginResponse:
        await registries.login(self._state, request)
        return pb.LoginResponse()

    async def Commit(self, request: pb.CommitRequest, context: Any) -> pb.CommitResponse:
        return pb.CommitResponse(image=await commit.commit(self._state, request))

    async def CreateImage(self, request: pb.CreateImageRequest, context: Any) -> pb.CreateImageResponse:
        return pb.CreateImageResponse(image=await create_image.create(self._state, request))

    async def GetImage(self, request: pb.GetImageRequest, context: Any) -> pb.GetImageResponse:
        namespace = check_namespace(request.namespace)
        row, _ = await self._state.store.read(
            lambda connection: images.resolve(connection, namespace, request.image))
        return pb.GetImageResponse(image=await images.message(self._state, row))

    async def ListImages(self, request: pb.ListImagesRequest, context: Any) -> pb.ListImagesResponse:
        namespace = check_namespace(request.namespace)
        if request.page_token and not (request.page_token.isdecimal() and len(request.page_token) < 10):
            raise InvalidArgument("page_token: not one of ours", reason="BAD_TOKEN", field="page_token")
        offset, size = int(request.page_token or 0), _page_size(request.page_size)
        rows = await self._state.store.read(
            lambda connection: catalog.images(connection, namespace, size + 1, offset))
        found = [await images.message(self._state, row, with_config=False) for row in rows[:size]]
        return pb.ListImagesResponse(
            images=found, next_page_token=str(offset + size) if len(rows) > size else "")

    async def TagImage(self, request: pb.TagImageRequest, context: Any) -> pb.TagImageResponse:
        return pb.TagImageResponse(
            image=await images.tag(self._state, request.namespace, request.image, request.reference))

    async def RemoveImage(self, request: pb.RemoveImageRequest, context: Any) -> pb.RemoveImageResponse:
        key = f"rmi:{request.namespace}:{request.image}"
        return await self._state.operations.run(
            key, request.SerializeToString(deterministic=True), lambda: untag.remove(self._state, request))

    async def Events(self, request: pb.EventsRequest, context: Any) -> AsyncIterator[pb.EventsResponse]:
        async for event in self._state.events.stream(request.selector):
            yield pb.EventsResponse(event=event)

    async def CollectGarbage(
        self, request: pb.CollectGarbageRequest, context: Any
    ) -> pb.CollectGarbageResponse:
        swept = await self._state.operations.run("gc", b"", lambda: gc.collect(self._state, 0.0))
        return pb.CollectGarbageResponse(blobs=swept.blobs, layers=swept.layers, bytes=swept.bytes)


    async def Push(self, request: pb.PushRequest, context: Any) -> AsyncIterator[pb.PushResponse]:
        async for message in Push(self._state, request).run():
            yield message

    async def Save(self, request: pb.SaveRequest, context: Any) -> AsyncIterator[pb.SaveResponse]:
        async for piece in save.save(self._state, request):
            yield pb.SaveResponse(data=piece)


class Snapshots(rpc.SnapshotServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def PrepareSnapshot(
        self, request: pb.PrepareSnapshotRequest, context: Any
    ) -> pb.PrepareSnapshotResponse:
        return pb.PrepareSnapshotResponse(
            snapshot=await snapshots.prepare(self._state, request, writable=True))

    async def ViewSnapshot(self, request: pb.ViewSnapshotRequest, context: Any) -> pb.ViewSnapshotResponse:
        return pb.ViewSnapshotResponse(snapshot=await snapshots.prepare(self._state, request, writable=False))

    async def GetSnapshot(self, request: pb.GetSnapshotRequest, context: Any) -> pb.GetSnapshotResponse:
        return pb.GetSnapshotResponse(snapshot=await snapshots.get(self._state, request.key))

    async def ListSnapshots(self, request: pb.ListSnapshotsRequest, context: Any) -> pb.ListSnapshotsResponse:
        found, token = await snapshots.listing(self._state, request, _page_size(request.page_size))
        return pb.ListSnapshotsResponse(snapshots=found, next_page_token=token)

    async def SnapshotUsage(self, request: pb.SnapshotUsageRequest, context: Any) -> pb.SnapshotUsageResponse:
        used = await snapshots.usage(self._state, request.key)
        return pb.SnapshotUsageResponse(bytes=used.bytes, inodes=used.inodes)

    async def RemoveSnapshot(self, request: pb.RemoveSnapshotRequest, context: Any) -> pb.RemoveSnapshotResponse:
        await snapshots.remove(self._state, request.key)
        return pb.RemoveSnapshotResponse()


    async def CommitSnapshot(self, request: pb.CommitSnapshotRequest, context: Any) -> pb.CommitSnapshotResponse:
        return await commit_snapshot.commit(self._state, request)

    async def Diff(self, request: pb.DiffRequest, context: Any) -> AsyncIterator[pb.DiffResponse]:
        async with aclosing(differences.difference(self._state, request)) as parts:
            async for part in parts:
                yield pb.DiffResponse(data=part)

    async def Changes(self, request: pb.ChangesRequest, context: Any) -> AsyncIterator[pb.ChangesResponse]:
        async with aclosing(differences.changes(self._state, request)) as batches:
            async for batch in batches:
                yield pb.ChangesResponse(changes=batch)

    async def Export(self, request: pb.ExportRequest, context: Any) -> AsyncIterator[pb.ExportResponse]:
        async with aclosing(differences.export(self._state, request.key)) as parts:
            async for part in parts:
                yield pb.ExportResponse(data=part)

    async def Apply(self, request_iterator: AsyncIterator[pb.ApplyRequest], context: Any) -> pb.ApplyResponse:
        first = await first_of(request_iterator)

        async def data() -> AsyncIterator[bytes]:
            yield first.data
            async for request in request_iterator:
                yield request.data

        return await apply.apply(self._state, first.key, data(), plain=first.plain)

    async def Hash(self, request: pb.HashRequest, context: Any) -> pb.HashResponse:
        return await snapshot_files.digest(self._state, request)

    async def CopyFiles(self, request: pb.CopyFilesRequest, context: Any) -> pb.CopyFilesResponse:
        return await snapshot_files.copy(self._state, request)

    async def ReadFile(self, request: pb.ReadFileRequest, context: Any) -> pb.ReadFileResponse:
        return pb.ReadFileResponse(data=await read_file.read(self._state, request))

    async def MakeDirectory(self, request: pb.MakeDirectoryRequest, context: Any) -> pb.MakeDirectoryResponse:
        return await snapshot_files.make_directory(self._state, request)


class Content(rpc.ContentServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def ReadBlob(self, request: pb.ReadBlobRequest, context: Any) -> AsyncIterator[pb.ReadBlobResponse]:
        async for data in content.read(self._state, request):
            yield pb.ReadBlobResponse(data=data)

    async def WriteBlob(
        self, request_iterator: AsyncIterator[pb.WriteBlobRequest], context: Any
    ) -> pb.WriteBlobResponse:
        first = await first_of(request_iterator)

        async def data() -> AsyncIterator[bytes]:
            yield first.data
            async for request in request_iterator:
                yield request.data

        return pb.WriteBlobResponse(blob=await content.write(self._state, first, data()))

    async def BlobStatus(self, request: pb.BlobStatusRequest, context: Any) -> pb.BlobStatusResponse:
        return pb.BlobStatusResponse(offset=await content.status(self._state, request.ref))

    async def CreateLease(self, request: pb.CreateLeaseRequest, context: Any) -> pb.CreateLeaseResponse:
        await content.create_lease(self._state, request)
        return pb.CreateLeaseResponse()

    async def DeleteLease(self, request: pb.DeleteLeaseRequest, context: Any) -> pb.DeleteLeaseResponse:
        await content.delete_lease(self._state, request.id)
        return pb.DeleteLeaseResponse()


class Volumes(rpc.VolumeServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def CreateVolume(self, request: pb.CreateVolumeRequest, context: Any) -> pb.CreateVolumeResponse:
        return pb.CreateVolumeResponse(volume=await volumes.create(self._state, request))

    async def GetVolume(self, request: pb.GetVolumeRequest, context: Any) -> pb.GetVolumeResponse:
        return pb.GetVolumeResponse(volume=await volumes.get(self._state, request.namespace, request.name))

    async def ListVolumes(self, request: pb.ListVolumesRequest, context: Any) -> pb.ListVolumesResponse:
        found, token = await volumes.listing(self._state, request, _page_size(request.page_size))
        return pb.ListVolumesResponse(volumes=found, next_page_token=token)

    async def VolumeUsage(self, request: pb.VolumeUsageRequest, context: Any) -> pb.VolumeUsageResponse:
        used = await volumes.usage(self._state, request.namespace, request.name)
        return pb.VolumeUsageResponse(bytes=used.bytes, inodes=used.inodes)

    async def FillVolume(self, request: pb.FillVolumeRequest, context: Any) -> pb.FillVolumeResponse:
        return pb.FillVolumeResponse(filled=await volumes.fill(self._state, request))

    async def RemoveVolume(self, request: pb.RemoveVolumeRequest, context: Any) -> pb.RemoveVolumeResponse:
        return pb.RemoveVolumeResponse(
            freed_bytes=await volumes.remove(self._state, request.namespace, request.name))
