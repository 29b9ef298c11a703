"""execd killed at each stage of what is done to a running container: afterwards it is done or undone.

Create, start, update, stop and remove are in test_kill. The stages are those that an unhurt round of the verbs logs,
and no method of the contract is without its verb.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from google.protobuf.any_pb2 import Any as Packed

from chassis.errors import PierError
from chassis.ids import new_id
from pier.exec.v1 import exec_pb2
from pier.types.v1 import types_pb2
from tests.engine import wait_until
from tests.service.execd.service import Execd
from tests.service.execd.test_archive import found, read, tar, write
from tests.service.execd.test_kill import stages_logged

PAUSED, RUNNING = exec_pb2.CONTAINER_STATE_PAUSED, exec_pb2.CONTAINER_STATE_RUNNING
IN_TEST_KILL = {
    "CreateContainer", "CompleteContainer", "StartContainer", "StopContainer", "UpdateContainer", "BeginRemove",
    "FinishRemove",
}
READS = {
    "GetContainer", "ListContainers", "ListTraces", "Wait", "ReadLogs", "Events", "Stats", "GetExec", "Attach",
}
NOT_BUILT = {"ExecSync", "PortForward"}
FILES: dict[str, Any] = {"hosts": b"127.0.0.1 localhost\n", "resolv_conf": b"nameserver 192.0.2.1\n"}
Verb = Callable[[Execd, str], Awaitable[object]]


async def _exec(service: Execd, container: str) -> None:
    """ExecCreate, OpenAttach, ResizeTerminal, ExecStart, and the exec's end."""
    exec_id = new_id()
    await service.call("ExecCreate", exec_pb2.ExecCreateRequest(
        id=exec_id, container_id=container, process=exec_pb2.Process(args=[b"/bin/true"], terminal=True)))
    client = await service.attach(container, exec_id)
    await service.call("ResizeTerminal", exec_pb2.ResizeTerminalRequest(
        id=container, exec_id=exec_id, height=33, width=99))
    await service.call("ExecStart", exec_pb2.ExecStartRequest(id=exec_id, operation_id="1", attach=True))
    await asyncio.to_thread(client.read_all)


async def _detach(service: Execd, container: str) -> None:
    client = await service.attach(container, detach_keys="q")
    client.send(b"q")
    await asyncio.to_thread(client.read_all)


VERBS: dict[str, Verb] = {
    "RenameContainer": lambda service, container: service.call(
        "RenameContainer", exec_pb2.RenameContainerRequest(id=container, name=f"n-{new_id()[:12]}")),
    "PauseContainer": lambda service, container: service.call(
        "PauseContainer", exec_pb2.PauseContainerRequest(id=container)),
    "UnpauseContainer": lambda service, container: service.call(
        "UnpauseContainer", exec_pb2.UnpauseContainerRequest(id=container)),
    "ExecCreate": _exec,
    "OpenAttach": _detach,
    "SetNameFiles": lambda service, container: service.call("SetNameFiles", exec_pb2.SetNameFilesRequest(
        id=container, hosts=b"127.0.0.1 localhost\n192.0.2.1 other\n", resolv_conf=b"nameserver 192.0.2.53\n")),
    "SetExtension": lambda service, container: service.call("SetExtension", exec_pb2.SetExtensionRequest(
        id=container, key="tests", value=Packed(type_url="tests/value", value=b"x"))),
    "RecordEvent": lambda service, container: service.call("RecordEvent", exec_pb2.RecordEventRequest(
        id=container, action="export")),
    "RecordTrace": lambda service, container: service.call("RecordTrace", exec_pb2.RecordTraceRequest(
        id=container, root=types_pb2.Span(name="test"))),
    "ListProcesses": lambda service, container: service.call(
        "ListProcesses", exec_pb2.ListProcessesRequest(id=container)),
    "WriteArchive": lambda service, container: write(service, container, b"/tmp", tar(file=b"content")),
    "StatPath": lambda service, container: found(service, container, b"/etc/passwd"),
    "ReadArchive": lambda service, container: read(service, container, b"/etc/passwd"),
    "KillContainer": lambda service, container: service.call(
        "KillContainer", exec_pb2.KillContainerRequest(id=container)),
    "RecordFailure": lambda service, container: service.call(
        "RecordFailure", exec_pb2.RecordFailureRequest(id=container, message="network")),
}
"""In the order in which a round has them."""
ALSO = {"ExecStart", "ResizeTerminal"}
"""In ``_exec``."""


BEFORE = {"UnpauseContainer": "PauseContainer", "RecordFailure": "KillContainer"}
LATER = {"trace.record": "RecordTrace", "detach.tell": "OpenAttach", "exec_exit.record": "ExecCreate"}
"""What may be logged only after its verb's answer."""
LEFT_OUT = {"kill.thaw", "top.tell", "archive.stat", "archive.read", "health.probe", "health.record"}
"""What only an impatient kill has; what changes nothing; what comes by itself, and is looked at for itself."""


def test_no_method_of_the_contract_is_without_its_verb() -> None:
    methods = {method.name for method in exec_pb2.DESCRIPTOR.services_by_name["ContainerService"].methods}
    assert methods == IN_TEST_KILL | READS | NOT_BUILT | ALSO | set(VERBS)


async def restored(service: Execd, container: str, operation: str) -> None:
    """After a restart all is whole, and the container takes the next round."""
    assert await service.fsck() == []
    state = (await service.get(container)).status.state
    if state == PAUSED:
        await service.call("UnpauseContainer", exec_pb2.UnpauseContainerRequest(id=container))
    elif state != RUNNING:
        await service.begin(container, operation, **FILES)
    # It is not frozen, and what its record says of its process is so.
    assert await service.output(container, "/bin/echo", "through") == b"through\n"
    assert Path(f"/proc/{(await service.get(container)).status.pid}").exists()


async def stages_of_a_round(service: Execd, container: str) -> dict[str, str]:
    """Each stage, and the verb after which it was first there."""
    owner: dict[str, str] = dict.fromkeys(stages_logged(service), "")
    for name, verb in VERBS.items():
        await verb(service, container)
        owner |= {stage: name for stage in stages_logged(service) if stage not in owner}
    return {stage: LATER.get(stage, name) for stage, name in owner.items() if name and stage not in LEFT_OUT}


async def killed_at(service: Execd, container: str, point: str, verb: str) -> None:
    """Have ``verb`` done, and everything where that does not come by ``point``, until execd is killed."""
    fault = service.base / "fault"
    fault.write_text(f"execd:{point}:kill")
    assert service.process is not None
    names = [*([BEFORE[verb]] if verb in BEFORE else []), verb]
    for verbs in (names, list(VERBS)):
        with suppress(PierError, OSError, EOFError):
            for name in verbs:
                if name:
                    await VERBS[name](service, container)
        with suppress(AssertionError):
            await asyncio.to_thread(wait_until, lambda: not fault.exists(), 5.0, f"{point} is reached")
            break
    await asyncio.to_thread(service.process.wait, 30)
    assert service.process.returncode == -signal.SIGKILL, point
    await service.peer.close()


async def test_a_kill_at_any_stage_of_a_verb_leaves_it_done_or_undone(service: Execd) -> None:
    check = exec_pb2.HealthCheck(test=[b"CMD", b"/bin/true"])
    check.interval.FromMilliseconds(100)
    container = await service.create("/bin/cat", spec=exec_pb2.ContainerSpec(health_check=check), stdin_open=True)
    await service.begin(container, "1", **FILES)
    owner = await stages_of_a_round(service, container)
    assert {point.partition(".")[0] for point in owner} >= {
        "rename", "pause", "unpause", "exec_create", "exec_start", "set_name_files", "set_extension", "record_event",
        "trace", "archive", "kill", "exit", "record_failure", "detach",
    }
    # The end of a stage is the begin of the next one, or the answer on its way.
    ends = {f"{point}@end": owner[point] for point in ("pause.record", "exec_start.record", "set_name_files.record")}
    await service.stop()
    points = [*(owner | ends).items(), ("health.probe", ""), ("health.record", "")]
    for number, (point, verb) in enumerate(points):
        await service.start(PIER_FAULT=f"@{service.base / 'fault'}")
        await restored(service, container, f"{number}")
        await killed_at(service, container, point, verb)
    await service.start()
    await restored(service, container, "last")
