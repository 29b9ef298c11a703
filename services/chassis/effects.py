"""What a gRPC call does: read, or change something; and to what. Judged by its method and its decoded message.

A method that is not named here changes something: a new one is an operator's until somebody has thought about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final


def _methods(service: str, *names: str) -> frozenset[str]:
    return frozenset(f"{service}/{name}" for name in names)


READS: Final = (
    _methods("pier.system.v1.SystemService", "Info", "Config")
    | _methods("pier.image.v1.ImageService", "Save", "GetRemoteImage", "ListRemoteTags", "GetImage", "ListImages",
               "Events")
    | _methods("pier.image.v1.SnapshotService", "GetSnapshot", "ListSnapshots", "SnapshotUsage", "Diff", "Changes",
               "Export", "Hash", "ReadFile")
    | _methods("pier.image.v1.ContentService", "ReadBlob", "BlobStatus")
    | _methods("pier.image.v1.VolumeService", "GetVolume", "ListVolumes", "VolumeUsage")
    | _methods("pier.network.v1.NetworkService", "GetNetwork", "ListNetworks", "GetSandbox", "ListSandboxes",
               "ExplainPort", "RenderFiles", "Events")
    | _methods("pier.exec.v1.ContainerService", "GetContainer", "ListContainers", "ListTraces", "Wait", "ReadLogs",
               "Events", "Stats", "ListProcesses", "StatPath", "ReadArchive", "GetExec")
    | _methods("pier.exec.v1.SandboxService", "GetSandbox", "ListSandboxes")
    | _methods("pier.build.v1.BuildService", "ListRecords")
    | _methods("pier.engine.v1.EngineService", "GetInfo", "Events")
    | _methods("pier.engine.v1.ContainerService", "GetContainer", "ListContainers", "WaitContainer", "ReadLogs",
               "ContainerStats", "ListProcesses", "GetExec")
    | _methods("pier.engine.v1.ImageService", "ListImages", "GetImage")
    | _methods("pier.engine.v1.NetworkService", "GetNetwork", "ListNetworks")
    | _methods("pier.engine.v1.VolumeService", "GetVolume", "ListVolumes")
)
"""Methods that change nothing, whatever is asked."""


def _speaks(message: Any) -> bool:
    """Of an attachment: whoever only listens changes nothing."""
    kind = message.WhichOneof("message")
    return bool(message.open.stdin) if kind == "open" else kind != "stdin_end"


BY_MESSAGE: Final[Mapping[str, Callable[[Any], bool]]] = {
    "pier.system.v1.SystemService/Fsck": lambda message: bool(message.repair),
    "pier.engine.v1.ContainerService/Attach": _speaks,
    "pier.exec.v1.ContainerService/Attach": _speaks,
}
"""Methods of which the message tells whether it changes something. Of a stream each message is judged."""

_SUBJECTS: Final = (
    "container", "container_id", "image", "network", "volume", "reference", "name", "key", "snapshot", "digest",
    "sandbox_id", "id", "repository", "registry", "ref",
)
_HEADS: Final = ("open", "options", "files")
"""Where a stream's first message keeps what it is about."""


def is_read(method: str, message: Any) -> bool:
    """Whether the call of ``method`` ("pier.x.v1.Service/Method") with ``message`` changes nothing."""
    if (judge := BY_MESSAGE.get(method)) is not None:
        return not judge(message)
    return method in READS


def subject(message: Any) -> str:
    """What the message is about: the first of its fields that names a thing, "" where none does."""
    fields = message.DESCRIPTOR.fields_by_name
    for head in _HEADS:
        known = fields.get(head)
        if known is not None and known.message_type is not None and known.has_presence and message.HasField(head):
            return subject(getattr(message, head))
    for name in _SUBJECTS:
        if name in fields and isinstance(value := getattr(message, name), str) and value:
            return value
    return ""
