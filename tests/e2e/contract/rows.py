"""Every operation of the Engine API: how much it matters, a request that is right, and the status that it gets.

Words in braces are the scene's: ``{running}`` runs for as long as the scene lasts; ``{created}``, and
``{doomed}``, which runs, are made for the row alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

Tier = Literal["must", "stub503", "stub", "later", "never"]


@dataclass(frozen=True)
class Row:
    """``operation`` is the schema's id, "" for what it leaves out. ``raw`` is a body that is no JSON."""

    tier: Tier
    operation: str
    line: str
    status: int
    body: Any = None
    raw: bytes = b""
    words: str = ""

    @property
    def method(self) -> str:
        return self.line.partition(" ")[0]

    @property
    def path(self) -> str:
        return self.line.partition(" ")[2]


def _must(operation: str, line: str, status: int, body: Any = None, raw: bytes = b"") -> Row:
    return Row("must", operation, line, status, body, raw)


def _swarm(operation: str, line: str) -> Row:
    body: Any = {} if line.startswith("POST") else None
    return Row("stub503", operation, line, 503, body, words="This node is not a swarm manager")


def _plugin(operation: str, line: str, status: int, words: str) -> Row:
    return Row("stub", operation, line, status, words=words)


def _later(operation: str, line: str, status: int, words: str = "") -> Row:
    return Row("later", operation, line, status, words=words)


_NAMED: Final = {"Image": "busybox", "Cmd": ["true"]}
_NO_PLUGIN: Final = 'plugin \\"nosuch\\" not found'

ROWS: Final = (
    _must("SystemAuth", "POST /auth", 200, {"username": "u", "password": "p", "serveraddress": "{registry}"}),
    _must("SystemInfo", "GET /info", 200),
    _must("SystemVersion", "GET /version", 200),
    _must("SystemPing", "GET /_ping", 200),
    _must("SystemPingHead", "HEAD /_ping", 200),
    _must("SystemEvents", "GET /events?since=1&until=2", 200),
    _must("SystemDataUsage", "GET /system/df", 200),
    _must("ContainerList", "GET /containers/json?all=1&size=1", 200),
    _must("ContainerCreate", "POST /containers/create?name=made", 201, _NAMED),
    _must("ContainerInspect", "GET /containers/{running}/json?size=1", 200),
    _must("ContainerInspect", "GET /containers/{created}/json", 200),
    _must("ContainerInspect", "GET /containers/nosuch/json", 404),
    _must("ContainerTop", "GET /containers/{running}/top?ps_args=-ef", 200),
    _must("ContainerLogs", "GET /containers/{running}/logs?stdout=1", 200),
    _must("ContainerChanges", "GET /containers/{running}/changes", 200),
    _must("ContainerExport", "GET /containers/{created}/export", 200),
    _must("ContainerStats", "GET /containers/{running}/stats?stream=0&one-shot=1", 200),
    _must("ContainerStats", "GET /containers/{created}/stats?stream=0&one-shot=1", 200),
    _must("ContainerResize", "POST /containers/{terminal}/resize?h=10&w=20", 200),
    _must("ContainerStart", "POST /containers/{created}/start", 204),
    _must("ContainerStart", "POST /containers/{running}/start", 304),
    _must("ContainerStop", "POST /containers/{doomed}/stop?t=0", 204),
    _must("ContainerStop", "POST /containers/{created}/stop", 304),
    _must("ContainerRestart", "POST /containers/{doomed}/restart?t=0", 204),
    _must("ContainerKill", "POST /containers/{doomed}/kill?signal=KILL", 204),
    _must("ContainerKill", "POST /containers/{created}/kill", 409),
    _must("ContainerUpdate", "POST /containers/{running}/update", 200, {"CpuShares": 512}),
    _must("ContainerRename", "POST /containers/{created}/rename?name=renamed", 204),
    _must("ContainerPause", "POST /containers/{paused}/pause", 204),
    _must("ContainerUnpause", "POST /containers/{unpaused}/unpause", 204),
    _must("ContainerAttach", "POST /containers/{running}/attach?stream=0&stdout=1", 200),
    _must("ContainerWait", "POST /containers/{created}/wait", 200),
    _must("ContainerWait", "POST /containers/{created}/wait?condition=never", 400),
    _must("ContainerDelete", "DELETE /containers/{created}?v=1&force=1", 204),
    _must("ContainerDelete", "DELETE /containers/{running}", 409),
    _must("ContainerArchiveInfo", "HEAD /containers/{running}/archive?path=/etc", 200),
    _must("ContainerArchive", "GET /containers/{running}/archive?path=/etc/passwd", 200),
    _must("ContainerArchive", "GET /containers/{running}/archive?path=/nosuch", 404),
    _must("PutContainerArchive", "PUT /containers/{created}/archive?path=/", 200, raw=b"\0" * 1024),
    _must("ContainerPrune", "POST /containers/prune", 200),
    _must("ContainerExec", "POST /containers/{running}/exec", 201, {"Cmd": ["true"]}),
    _must("ContainerExec", "POST /containers/{created}/exec", 409, {"Cmd": ["true"]}),
    _must("ExecStart", "POST /exec/{exec}/start", 200, {"Detach": True}),
    _must("ExecResize", "POST /exec/{terminal_exec}/resize?h=10&w=20", 200),
    _must("ExecInspect", "GET /exec/{exec}/json", 200),
    _must("ImageList", "GET /images/json?all=1&digests=1", 200),
    _must("ImageCreate", "POST /images/create?fromImage={registry}/app&tag=1", 200),
    _must("ImageInspect", "GET /images/busybox/json", 200),
    _must("ImageInspect", "GET /images/nosuch/json", 404),
    _must("ImageHistory", "GET /images/busybox/history", 200),
    _must("ImagePush", "POST /images/{registry}/app/push?tag=1", 200),
    _must("ImageTag", "POST /images/busybox/tag?repo=tagged&tag=1", 201),
    _must("ImageDelete", "DELETE /images/tagged:1", 200),
    _must("ImagePrune", "POST /images/prune", 200),
    _must("ImageCommit", "POST /commit?container={created}&repo=committed", 201, {}),
    _must("ImageGet", "GET /images/busybox/get", 200),
    _must("ImageGetAll", "GET /images/get?names=busybox", 200),
    _must("ImageLoad", "POST /images/load", 200, raw=b"\0" * 1024),
    _must("ImageBuild", "POST /build?t=built", 200, raw=b"{context}"),
    _must("BuildPrune", "POST /build/prune", 200),
    _must("DistributionInspect", "GET /distribution/{registry}/app:1/json", 200),
    _must("NetworkList", "GET /networks", 200),
    _must("NetworkInspect", "GET /networks/bridge?verbose=1", 200),
    _must("NetworkCreate", "POST /networks/create", 201, {"Name": "made", "CheckDuplicate": True}),
    _must("NetworkConnect", "POST /networks/made/connect", 200, {"Container": "{created}"}),
    _must("NetworkDisconnect", "POST /networks/{network}/disconnect", 200, {"Container": "{connected}"}),
    _must("NetworkDelete", "DELETE /networks/{network}", 204),
    _must("NetworkPrune", "POST /networks/prune", 200),
    _must("VolumeCreate", "POST /volumes/create", 201, {"Name": "made", "Labels": {"a": "b"}}),
    _must("VolumeList", "GET /volumes", 200),
    _must("VolumeInspect", "GET /volumes/made", 200),
    _must("VolumeDelete", "DELETE /volumes/made", 204),
    _must("VolumePrune", "POST /volumes/prune", 200),
    _later("ContainerAttachWebsocket", "GET /containers/{running}/attach/ws?stream=1", 400),
    _later("ImageSearch", "GET /images/search?term=x", 500, "cannot search"),
    _later("ImageAttestations", "GET /images/busybox/attestations", 501, "attestations"),
    _later("VolumeUpdate", "PUT /volumes/nosuch?version=1", 503, "This node is not a swarm manager"),
    _later("Session", "POST /session", 501, "session"),
    _later("", "POST /grpc", 501, "grpc"),
    _later("", "POST /build/cancel?id=x", 501, "build/cancel"),
    _later("", "OPTIONS /containers/json", 200),
    _swarm("SwarmInspect", "GET /swarm"),
    *(_swarm(f"Swarm{word.capitalize()}", f"POST /swarm/{word}")
      for word in ("init", "join", "leave", "update", "unlock")),
    _swarm("SwarmUnlockkey", "GET /swarm/unlockkey"),
    *(row for noun in ("Service", "Node", "Task", "Secret", "Config") for row in (
        _swarm(f"{noun}List", f"GET /{noun.lower()}s"), _swarm(f"{noun}Inspect", f"GET /{noun.lower()}s/nosuch"))),
    *(_swarm(f"{noun}Create", f"POST /{noun.lower()}s/create") for noun in ("Service", "Secret", "Config")),
    *(row for noun in ("Service", "Node", "Secret", "Config") for row in (
        _swarm(f"{noun}Delete", f"DELETE /{noun.lower()}s/nosuch"),
        _swarm(f"{noun}Update", f"POST /{noun.lower()}s/nosuch/update?version=1"))),
    *(_swarm(f"{noun}Logs", f"GET /{noun.lower()}s/nosuch/logs?stdout=1") for noun in ("Service", "Task")),
    _plugin("PluginList", "GET /plugins", 200, "[]"),
    _plugin("GetPluginPrivileges", "GET /plugins/privileges?remote=nosuch", 501, "plugins"),
    _plugin("PluginPull", "POST /plugins/pull?remote=nosuch", 501, "plugins"),
    _plugin("PluginCreate", "POST /plugins/create?name=nosuch", 501, "plugins"),
    _plugin("PluginInspect", "GET /plugins/nosuch/json", 404, _NO_PLUGIN),
    _plugin("PluginDelete", "DELETE /plugins/nosuch", 404, _NO_PLUGIN),
    *(_plugin(f"Plugin{word.capitalize()}", f"POST /plugins/nosuch/{word}", 404, _NO_PLUGIN)
      for word in ("enable", "disable", "upgrade", "push", "set")),
    Row("never", "", "GET /debug/vars", 404, words="page not found"),
    Row("never", "", "GET /containers/{running}/checkpoints", 404, words="page not found"),
)
REFUSED: Final = frozenset(row.operation for row in ROWS if row.status == 501)
"""Operations that are refused by their name, with a status that the schema does not have."""
