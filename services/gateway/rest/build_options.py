"""What a `POST /build` asks for, as buildd is asked for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from chassis.errors import Unimplemented
from coordinator.services import NAMESPACE
from gateway.rest import body, registry_auth
from gateway.rest.call import Call
from gateway.rest.decoders import extra_host
from gateway.rest.errors import bad
from gateway.rest.find import find_container
from gateway.rest.image_transfer import platform_of
from gateway.rest.names import has_tag
from pier.build.v1 import build_pb2 as pb

_HUB: Final = "docker.io"
_LIMITS: Final = {
    "memory": "memory", "memswap": "memory_swap", "cpushares": "cpu_shares", "cpuperiod": "cpu_period",
    "cpuquota": "cpu_quota",
}
_REFUSED: Final = {
    "squash": "squashed layers", "securityopt": "security options", "isolation": "isolation modes",
}


async def read(call: Call) -> pb.BuildOptions:
    """The options. 400 for what is malformed, 501 for what is not built."""
    query = call.query
    _refuse(call)
    options = pb.BuildOptions(
        namespace=NAMESPACE, dockerfile=query.text("dockerfile"), tags=[_tag(text) for text in query.all("t") if text],
        target=query.text("target"), remote=query.text("remote"), no_cache=query.boolean("nocache"),
        pull=query.boolean("pull"),
        extra_hosts=[extra_host(text, "extrahosts") for text in query.all("extrahosts") if text],
        network=await _network(call, query.text("networkmode")), labels=_map(call, "labels"),
        build_args=_map(call, "buildargs"), platform=platform_of(query.text("platform")),
        cache_from=_json(call, "cachefrom", body.as_strings),
    )
    if (size := query.integer("shmsize") or 0) < 0:
        raise bad("SHM size can not be less than 0", field="shmsize")
    options.shm_size = size
    _limits(call, options.limits)
    for address, auth in _credentials(call.http.headers.get("X-Registry-Config", "")).items():
        options.auth[address].CopyFrom(auth)
    return options


def _refuse(call: Call) -> None:
    query = call.query
    if query.text("version") == "2" or query.text("session"):
        raise Unimplemented(
            "builds over BuildKit's session (version=2) are not supported: the classic builder (DOCKER_BUILDKIT=0) "
            "understands BuildKit's Dockerfiles here", reason="NOT_BUILT", field="version", expected="1")
    for key, what in _REFUSED.items():
        text = query.text(key)
        if text and text not in ("0", "false", "null", "[]", "default"):
            raise Unimplemented(f"build: {what} ({key}) are not supported", reason="NOT_BUILT", field=key)
    if query.text("outputs") not in ("", "null", "[]"):
        raise Unimplemented("build: outputs are BuildKit's: not supported over this API", reason="NOT_BUILT",
                            field="outputs")


def _tag(text: str) -> str:
    if "@" in text:
        raise bad("refusing to create a tag with a digest reference", field="t")
    return text if has_tag(text) else f"{text}:latest"


async def _network(call: Call, mode: str) -> str:
    """Another container's is named by its id."""
    kind, mark, name = mode.partition(":")
    if kind == "container" and mark:
        return f"container:{(await find_container(call, name)).id}"
    return "default" if mode in ("", "default", "bridge") else mode


def _json(call: Call, key: str, read_: Callable[[Any, str], Any]) -> Any:
    text = call.query.text(key)
    if not text:
        return read_(None, key)
    try:
        return read_(msgspec.json.decode(text), key)
    except (msgspec.DecodeError, RecursionError) as error:
        raise bad(f"{key}: invalid JSON: {error}", field=key) from error


def _map(call: Call, key: str) -> dict[str, str]:
    """A map of strings; what is null is not given."""
    fields = _json(call, key, body.as_fields)
    return {name: fields.text_of(name) for name in fields if fields.document[name] is not None}


def _limits(call: Call, limits: pb.Limits) -> None:
    query = call.query
    for key, name in _LIMITS.items():
        value = query.integer(key) or 0
        try:
            setattr(limits, name, value)
        except ValueError:
            raise bad(f"{key}: {value} is out of range", field=key) from None
    limits.cpuset_cpus, limits.cpuset_mems = query.text("cpusetcpus"), query.text("cpusetmems")
    limits.cgroup_parent = query.text("cgroupparent")
    for each in _json(call, "ulimits", body.as_list):
        entry = body.as_fields(each, "ulimits")
        limits.ulimits.add(name=entry.text("Name"), soft=entry.integer("Soft"), hard=entry.integer("Hard"))


def _credentials(header: str) -> dict[str, Any]:
    """By registry. What cannot be decoded counts as none, as in Docker: the registry then says what it lacks."""
    try:
        found = msgspec.json.decode(
            registry_auth.from_base64(header) or b"{}", type=dict[str, registry_auth.AuthConfig])
    except (ValueError, msgspec.DecodeError):
        return {}
    return {
        registry_auth.registry_of(address) or _HUB: registry_auth.credentials(config)
        for address, config in found.items()
    }
