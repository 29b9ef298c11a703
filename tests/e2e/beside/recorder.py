"""What two engines answer to the same requests, with what must differ masked, and where they differ.

A difference has a name, ``ANSWER: PLACE``: the place is "status", "header NAME", "body", or a path in the JSON with
indices left out (``Mounts[].Mode``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from tests.e2e.wire import Answer, Wire, frames

PREFIX: Final = "/v1.41"
"""The newest API of Debian's dockerd."""
_HEADERS: Final = (
    "content-type", "docker-experimental", "ostype", "connection", "upgrade", "cache-control", "pragma", "swarm",
    "x-docker-container-path-stat",
)
_PRESENT: Final = ("docker-experimental", "x-docker-container-path-stat")
"""Headers of which only that they are there is compared: what they say is the engine's own, or holds times."""
_MASKS: Final = (
    (r"\b[0-9a-f]{64}\b", "<id>"), (r"\b[0-9a-f]{12}\b", "<short>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
    (r"\b\d{1,3}(\.\d{1,3}){3}(/\d+)?\b", "<address>"), (r"([0-9a-f]{2}:){5}[0-9a-f]{2}", "<mac>"),
    (r"^\d+$", "<number>"), (r"Less than a second|\b\d+ seconds?", "<ago>"),
)
_VOLATILE: Final = frozenset({
    "ContainersDeleted", "Created", "CreatedAt", "EnableIPv6", "ExperimentalBuild", "FinishedAt", "Gateway",
    "GlobalIPv6Address", "GlobalIPv6PrefixLen", "HostPort", "HostnamePath", "HostsPath", "IPAddress", "IPPrefixLen",
    "IPv6Address", "IPv6Gateway", "LastTagTime", "LayersSize", "LogPath", "MacAddress", "Mountpoint",
    "NEventsListener", "NFd", "NGoroutines", "Pid", "PublicPort", "ResolvConfPath", "SandboxKey", "SharedSize", "Size",
    "SizeRootFs", "SizeRw", "Source", "SpaceReclaimed", "StartedAt", "SystemTime", "VirtualSize", "current",
    "execDuration", "limit", "max_usage", "percpu_usage", "periods", "preread", "read", "rx_bytes", "rx_packets",
    "stats", "system_cpu_usage", "throttled_periods", "throttled_time", "time", "timeNano", "total_usage", "tx_bytes",
    "tx_packets", "usage", "usage_in_kernelmode", "usage_in_usermode",
})
"""Keys whose values are another at each engine, of which only the kind is compared."""
_ZERO_TIME: Final = "0001-01-01T00:00:00Z"


@dataclass
class Recorder:
    """Sends requests to one engine and keeps the answers by their names."""

    wire: Wire
    said: dict[str, Answer] = field(default_factory=dict)

    def __call__(self, name: str, line: str, body: Any = None, **headers: str) -> Answer:
        method, _, path = line.partition(" ")
        return self._keep(name, self.wire.call(method, PREFIX + path, body, **headers))

    def stream(self, name: str, line: str, body: bytes = b"", *, data: bytes = b"", between: Callable[[], Any] = bool,
               framed: bool = True) -> Answer:
        """An upgraded request: ``data`` is its input, ``between`` is called when the head is here. The body is the
        output, stream by stream where it is ``framed``."""
        method, _, path = line.partition(" ")
        with self.wire.connected() as connection:
            connection.request(f"{method} {PREFIX}{path}", body, upgrade=True)
            head = connection.head()
            if head.status != 101:
                return self._keep(name, Answer(head.status, head.headers))
            between()
            connection.send(data)
            connection.finish_input()
            output = connection.rest()
        return self._keep(name, Answer(head.status, head.headers, _apart(output) if framed else output))

    def frames(self, name: str, line: str) -> Answer:
        """A request whose answer is frames: the body is what they hold, stream by stream, for two streams come in any
        order."""
        method, _, path = line.partition(" ")
        answer = self.wire.call(method, PREFIX + path)
        return self._keep(name, Answer(answer.status, answer.headers, _apart(answer.body)))

    def _keep(self, name: str, answer: Answer) -> Answer:
        assert name not in self.said, f"two answers are called {name}"
        self.said[name] = answer
        return answer


def _apart(data: bytes) -> bytes:
    parts = frames(data)
    return b"|".join(
        b"%d:%s" % (stream, b"".join(part for number, part in parts if number == stream)) for stream in (1, 2))


def differences(docker: dict[str, Answer], pier: dict[str, Answer]) -> dict[str, str]:
    """Name of each difference → what the two said."""
    assert list(docker) == list(pier)
    found: dict[str, str] = {}
    for name, one in docker.items():
        for place, text in _between(one, pier[name]):
            found.setdefault(f"{name}: {place}", text)
    return found


def _between(docker: Answer, pier: Answer) -> Iterator[tuple[str, str]]:
    if docker.status != pier.status:
        yield "status", f"{docker.status} {docker.body[:200]!r} / {pier.status} {pier.body[:200]!r}"
        return
    for name in _HEADERS:
        one, other = docker.headers.get(name), pier.headers.get(name)
        if name in _PRESENT and one and other:
            continue
        if one != other:
            yield f"header {name}", f"{one!r} / {other!r}"
    yield from _within("body", _read(docker), _read(pier))


def _read(answer: Answer) -> Any:
    """The body as JSON, as a list of a stream's JSON values, or as text."""
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return answer.body.decode("utf-8", "replace")
    try:
        return answer.json
    except ValueError:
        return answer.objects


def _within(place: str, docker: Any, pier: Any) -> Iterator[tuple[str, str]]:
    """Differences of two values, by the place in which they are."""
    if isinstance(docker, dict) and isinstance(pier, dict):
        docker, pier = ({_text(key): value for key, value in each.items()} for each in (docker, pier))
        for key in dict.fromkeys((*docker, *pier)):
            inner = key if place == "body" else f"{place}.{key}"
            if key not in docker or key not in pier:
                side = "Docker" if key in docker else "Pier"
                yield inner, f"{side} alone has it: {docker.get(key, pier.get(key))!r:.200}"
            elif key in _VOLATILE:
                if _kind(docker[key]) != _kind(pier[key]):
                    yield inner, f"{docker[key]!r:.200} / {pier[key]!r:.200}"
            else:
                yield from _within(inner, docker[key], pier[key])
    elif isinstance(docker, list) and isinstance(pier, list) and _nested(docker + pier):
        if len(docker) != len(pier):
            yield place, f"{docker!r:.300} / {pier!r:.300}"
        for one, other in zip(sorted(docker, key=_order), sorted(pier, key=_order), strict=False):
            yield from _within(f"{place}[]", one, other)
    elif _masked(docker) != _masked(pier):
        yield place, f"{_masked(docker)!r:.300} / {_masked(pier)!r:.300}"


def _nested(values: list[Any]) -> bool:
    return any(isinstance(each, dict | list) for each in values)


def _order(value: Any) -> str:
    """Where lists come in any order, their entries are told apart by these."""
    keys = ("Destination", "PrivatePort", "Path", "Name", "Id")
    return next((str(value[key]) for key in keys if key in value), "") if isinstance(value, dict) else ""


def _kind(value: Any) -> str:
    return "never" if value == _ZERO_TIME else "null" if value is None else type(value).__name__


def _masked(value: Any) -> Any:
    if isinstance(value, list):
        return [_masked(each) for each in value]
    return json.dumps(_text(value)) if isinstance(value, str) and value != _ZERO_TIME else value


def _text(value: str) -> str:
    for pattern, shown in _MASKS:
        value = re.sub(pattern, shown, value)
    return value
