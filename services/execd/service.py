"""pier.exec.v1.ContainerService: each rpc names its operation and hands over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from chassis import attach, ids
from chassis.blocking import Pool
from chassis.errors import Conflict, InvalidArgument, Unimplemented
from chassis.events import EventLog
from chassis.operations import Operations
from chassis.server import first_of
from execd import attachment, listing, processes
from execd.archive.archives import Archives
from execd.cgroup_lock import CgroupLock
from execd.changes import PAUSED, Changes
from execd.containers import Containers
from execd.execs import Execs
from execd.lives import RESTARTING, Lives
from execd.logs import options, read
from execd.logs.forward import Forwards
from execd.logs.watch import Watches
from execd.places import Places
from execd.records import Entry, Note, Records
from execd.start import Starts
from execd.traces import Traces
from execd.updates import Updates
from execd.usage import Usage
from pier.exec.v1 import exec_pb2, exec_pb2_grpc

_MARKS: Final = 8
_STATS_SECONDS: Final = 1.0


class ContainerService(exec_pb2_grpc.ContainerServiceServicer):
    """What is not overridden here answers UNIMPLEMENTED by its name."""

    def __init__(
        self, events: EventLog, records: Records, containers: Containers, changes: Changes,
        updates: Updates, starts: Starts, execs: Execs, lives: Lives, places: Places, operations: Operations,
        pool: Pool, cgroup_lock: CgroupLock, archives: Archives, watches: Watches, forwards: Forwards, traces: Traces,
    ) -> None:
        self._events = events
        self._records = records
        self._containers = containers
        self._changes = changes
        self._updates = updates
        self._starts = starts
        self._execs = execs
        self._lives = lives
        self._places = places
        self._operations = operations
        self._pool = pool
        self._cgroup_lock = cgroup_lock
        self._archives = archives
        self._watches = watches
        self._forwards = forwards
        self._traces = traces

    async def _do(self, verb: str, request: Any, work: Any) -> Any:
        """Start or join the operation: it goes on to its end when this call is cancelled."""
        fingerprint = request.SerializeToString(deterministic=True)
        return await self._operations.run(f"{verb}:{request.id}", fingerprint, lambda: work(request))

    async def _do_each(self, verb: str, request: Any, work: Any) -> Any:
        """The same for verbs of which calls that differ may run beside one another."""
        fingerprint = request.SerializeToString(deterministic=True)
        key = f"{verb}:{fingerprint.hex()}"
        return await self._operations.run(key, fingerprint, lambda: work(request))

    def _tell(self, entry: Entry, action: str, **attributes: str) -> None:
        """An event that nothing depends on: it is durable in its order, and the call does not wait for that."""
        note = Note(action, attributes)
        self._operations.spawn("tell", lambda: self._records.tell(entry, f"{action}.tell", note))

    def _shown(self, container: exec_pb2.Container) -> exec_pb2.Container:
        """The record with the execs that run now, and what its log's destination says."""
        running, problem = self._execs.running_in(container.id), self._forwards.error_of(container.id)
        if not running and not problem:
            return container
        shown = exec_pb2.Container()
        shown.CopyFrom(container)
        shown.exec_ids.extend(running)
        shown.status.log_error = problem
        return shown

    async def CreateContainer(
        self, request: exec_pb2.CreateContainerRequest, context: Any
    ) -> exec_pb2.CreateContainerResponse:
        self._cgroup_lock.warm()
        container, warnings = await self._do("create", request, self._containers.create)
        return exec_pb2.CreateContainerResponse(container=container, warnings=warnings)

    async def CompleteContainer(
        self, request: exec_pb2.CompleteContainerRequest, context: Any
    ) -> exec_pb2.CompleteContainerResponse:
        container = await self._do("complete", request, self._containers.complete)
        return exec_pb2.CompleteContainerResponse(container=container)

    async def StartContainer(
        self, request: exec_pb2.StartContainerRequest, context: Any
    ) -> exec_pb2.StartContainerResponse:
        ids.key(request.operation_id, "operation_id")
        if len(request.marks) > _MARKS or not all(mark.strip(b"/") and b"\0" not in mark for mark in request.marks):
            raise InvalidArgument("marks are paths of files", reason="BAD_FIELD", field="marks",
                                  expected=f"at most {_MARKS} absolute paths")
        self._cgroup_lock.warm()
        work = self._starts.start
        key = f"start:{request.id}:{request.operation_id}"
        fingerprint = request.SerializeToString(deterministic=True)
        container = await self._operations.run(key, fingerprint, lambda: work(request))
        return exec_pb2.StartContainerResponse(container=self._shown(container))

    async def RecordFailure(
        self, request: exec_pb2.RecordFailureRequest, context: Any
    ) -> exec_pb2.RecordFailureResponse:
        await self._do_each("record_failure", request, self._changes.record_failure)
        return exec_pb2.RecordFailureResponse()

    async def RecordEvent(self, request: exec_pb2.RecordEventRequest, context: Any) -> exec_pb2.RecordEventResponse:
        await self._do_each("record_event", request, self._changes.record_event)
        return exec_pb2.RecordEventResponse()

    async def StopContainer(
        self, request: exec_pb2.StopContainerRequest, context: Any
    ) -> exec_pb2.StopContainerResponse:
        return exec_pb2.StopContainerResponse(container=await self._do_each("stop", request, self._containers.stop))

    async def KillContainer(
        self, request: exec_pb2.KillContainerRequest, context: Any
    ) -> exec_pb2.KillContainerResponse:
        await self._do_each("kill", request, self._containers.kill)
        return exec_pb2.KillContainerResponse()

    async def PauseContainer(
        self, request: exec_pb2.PauseContainerRequest, context: Any
    ) -> exec_pb2.PauseContainerResponse:
        await self._do_each("pause", request, self._changes.pause)
        return exec_pb2.PauseContainerResponse()

    async def UnpauseContainer(
        self, request: exec_pb2.UnpauseContainerRequest, context: Any
    ) -> exec_pb2.UnpauseContainerResponse:
        await self._do_each("unpause", request, self._changes.unpause)
        return exec_pb2.UnpauseContainerResponse()

    async def RenameContainer(
        self, request: exec_pb2.RenameContainerRequest, context: Any
    ) -> exec_pb2.RenameContainerResponse:
        await self._do_each("rename", request, self._changes.rename)
        return exec_pb2.RenameContainerResponse()

    async def UpdateContainer(
        self, request: exec_pb2.UpdateContainerRequest, context: Any
    ) -> exec_pb2.UpdateContainerResponse:
        return exec_pb2.UpdateContainerResponse(warnings=await self._do_each("update", request, self._updates.update))

    async def SetExtension(
        self, request: exec_pb2.SetExtensionRequest, context: Any
    ) -> exec_pb2.SetExtensionResponse:
        await self._do_each("set_extension", request, self._changes.set_extension)
        return exec_pb2.SetExtensionResponse()

    async def SetNameFiles(
        self, request: exec_pb2.SetNameFilesRequest, context: Any
    ) -> exec_pb2.SetNameFilesResponse:
        await self._do_each("set_name_files", request, self._changes.set_name_files)
        return exec_pb2.SetNameFilesResponse()

    async def ResizeTerminal(
        self, request: exec_pb2.ResizeTerminalRequest, context: Any
    ) -> exec_pb2.ResizeTerminalResponse:
        await self._containers.resize(request)
        if not request.exec_id:
            self._tell(self._records.need(request.id), "resize", height=str(request.height), width=str(request.width))
        return exec_pb2.ResizeTerminalResponse()

    async def BeginRemove(self, request: exec_pb2.BeginRemoveRequest, context: Any) -> exec_pb2.BeginRemoveResponse:
        container = await self._do_each("begin_remove", request, self._containers.begin_remove)
        return exec_pb2.BeginRemoveResponse(container=container)

    async def FinishRemove(self, request: exec_pb2.FinishRemoveRequest, context: Any) -> exec_pb2.FinishRemoveResponse:
        await self._do("finish_remove", request, self._containers.finish_remove)
        self._execs.forget(request.id)
        return exec_pb2.FinishRemoveResponse()

    async def GetContainer(self, request: exec_pb2.GetContainerRequest, context: Any) -> exec_pb2.GetContainerResponse:
        entry = self._records.find(request.namespace, request.container)
        return exec_pb2.GetContainerResponse(container=self._shown(entry.container))

    async def ListContainers(
        self, request: exec_pb2.ListContainersRequest, context: Any
    ) -> exec_pb2.ListContainersResponse:
        return listing.answer(self._records, request)

    async def RecordTrace(self, request: exec_pb2.RecordTraceRequest, context: Any) -> exec_pb2.RecordTraceResponse:
        await self._traces.keep(self._records.need(request.id).id, request.root)
        return exec_pb2.RecordTraceResponse()

    async def ListTraces(self, request: exec_pb2.ListTracesRequest, context: Any) -> exec_pb2.ListTracesResponse:
        return exec_pb2.ListTracesResponse(roots=await self._traces.of(self._records.need(request.id).id))

    async def Wait(self, request: exec_pb2.WaitRequest, context: Any) -> AsyncIterator[exec_pb2.WaitResponse]:
        async for response in self._containers.wait(request):
            yield response

    async def ReadLogs(
        self, request: exec_pb2.ReadLogsRequest, context: Any
    ) -> AsyncIterator[exec_pb2.ReadLogsResponse]:
        entry = self._records.need(request.id)
        if not options.judge(entry.container.spec.log).readable:
            raise Unimplemented("configured logging driver does not support reading", reason="LOG_NOT_READABLE",
                                field="id")
        if not (request.stdout or request.stderr):
            raise InvalidArgument("Bad parameters: you must choose at least one stream", reason="BAD_FIELD",
                                  field="stdout")
        if request.details and request.form not in read.RECORDS:
            raise InvalidArgument("details: data alone has none", reason="BAD_FIELD", field="details",
                                  expected="LOG_FORM_RECORDS")
        wanted = read.Wanted(
            frozenset(number for number, asked in ((1, request.stdout), (2, request.stderr)) if asked),
            request.since.ToNanoseconds() if request.HasField("since") else None,
            request.until.ToNanoseconds() if request.HasField("until") else None,
            request.tail if request.HasField("tail") else None, request.details, request.form,
        )
        async for batch in read.read(
            entry, self._places.log(entry.id), wanted, request.follow, self._pool, self._watches
        ):
            yield batch

    async def Events(self, request: exec_pb2.EventsRequest, context: Any) -> AsyncIterator[exec_pb2.EventsResponse]:
        async for event in self._events.stream(request.selector):
            yield exec_pb2.EventsResponse(event=event)

    async def Stats(
        self, request: exec_pb2.StatsRequest, context: Any
    ) -> AsyncIterator[exec_pb2.StatsResponse]:
        entry = self._records.need(request.id)
        while not entry.removed:
            status = entry.container.status
            sample = exec_pb2.StatsResponse()
            if entry.is_running():
                sample = await self._pool.run(Usage(self._places.cgroup(entry.container), status.pid).read)
            sample.incarnation = status.incarnation
            yield sample
            if request.once:
                return
            await asyncio.sleep(_STATS_SECONDS)

    async def ListProcesses(
        self, request: exec_pb2.ListProcessesRequest, context: Any
    ) -> exec_pb2.ListProcessesResponse:
        entry = self._records.need(request.id)
        if not entry.is_running():
            raise Conflict(f"container {entry.id} is not running", reason="NOT_RUNNING", field="id")
        found = await self._pool.run(processes.listed, self._places.cgroup(entry.container))
        self._tell(entry, "top")
        return exec_pb2.ListProcessesResponse(processes=found)

    async def StatPath(self, request: exec_pb2.StatPathRequest, context: Any) -> exec_pb2.StatPathResponse:
        return exec_pb2.StatPathResponse(stat=await self._archives.stat(request))

    async def ReadArchive(
        self, request: exec_pb2.ReadArchiveRequest, context: Any
    ) -> AsyncIterator[exec_pb2.ReadArchiveResponse]:
        async with aclosing(self._archives.read(request)) as messages:
            async for message in messages:
                yield message

    async def WriteArchive(
        self, request_iterator: AsyncIterator[exec_pb2.WriteArchiveRequest], context: Any
    ) -> exec_pb2.WriteArchiveResponse:
        first = await first_of(request_iterator)

        async def data() -> AsyncIterator[bytes]:
            yield first.data
            async for request in request_iterator:
                yield request.data

        await self._archives.write(first, data())
        return exec_pb2.WriteArchiveResponse()

    async def OpenAttach(self, request: exec_pb2.OpenAttachRequest, context: Any) -> exec_pb2.OpenAttachResponse:
        if request.exec_id:
            _, link, made = await self._execs.attach_target(request.exec_id)
            framed = not made.process.terminal
        else:
            made = None
            entry = self._records.named(request.namespace, request.id)
            if entry.state == RESTARTING:
                raise Conflict(f"container {request.id} is restarting, wait until the container is running",
                               reason="RESTARTING", field="id")
            if entry.state == PAUSED:
                raise Conflict(f"container {request.id} is paused, unpause the container before attach",
                               reason="PAUSED", field="id")
            # A caller that leaves in the middle of a fork would leave a shim behind that nobody knows.
            link_ = await self._operations.run(f"attach:{entry.id}", b"", lambda: self._lives.shim_to_attach(entry))
            if link_ is None:
                raise Conflict(f"container {entry.id[:12]} runs without its shim: it cannot be attached to",
                               reason="SHIM_GONE", field="id")
            link, framed = link_, not entry.container.spec.process.terminal
            self._tell(entry, "attach")
        return exec_pb2.OpenAttachResponse(
            socket_path=str(link.attach_socket).encode(), framed=framed, incarnation=link.incarnation, exec=made,
        )

    async def Attach(
        self, request_iterator: AsyncIterator[exec_pb2.AttachRequest], context: Any
    ) -> AsyncIterator[exec_pb2.AttachResponse]:
        first = await anext(aiter(request_iterator), None)
        if first is None or first.WhichOneof("message") != "open":
            raise InvalidArgument("the first message opens the attachment", reason="BAD_FIELD", field="open")
        opened = first.open
        answer = await self.OpenAttach(
            exec_pb2.OpenAttachRequest(id=opened.id, exec_id=opened.exec_id), context
        )
        target = opened.exec_id or attach.INIT
        path = self._places.shims / answer.socket_path.decode().rpartition("/shims/")[2]
        async for response in attachment.serve(path, target, answer.framed, opened, request_iterator):
            yield response

    async def ExecCreate(self, request: exec_pb2.ExecCreateRequest, context: Any) -> exec_pb2.ExecCreateResponse:
        self._cgroup_lock.warm()
        return exec_pb2.ExecCreateResponse(exec=await self._do("exec_create", request, self._execs.create))

    async def ExecStart(self, request: exec_pb2.ExecStartRequest, context: Any) -> exec_pb2.ExecStartResponse:
        ids.key(request.operation_id, "operation_id")
        self._cgroup_lock.warm()
        return exec_pb2.ExecStartResponse(exec=await self._do_each("exec_start", request, self._execs.start))

    async def GetExec(self, request: exec_pb2.GetExecRequest, context: Any) -> exec_pb2.GetExecResponse:
        return exec_pb2.GetExecResponse(exec=await self._execs.get(request.id))


class SandboxService(exec_pb2_grpc.SandboxServiceServicer):
    """Pods come later: each rpc answers UNIMPLEMENTED by its name."""
