"""Readers of Docker's settings, one for each kind of row in ``settings``.

Each takes the draft, the object that holds the value, and the value's key; what is wrong is told with Docker's words
and the setting's path.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Any, Final

from chassis.errors import Unimplemented
from gateway.rest.body import Fields, as_fields, as_integer, as_list, as_strings
from gateway.rest.draft import Draft
from gateway.rest.errors import bad
from pier.exec.v1 import exec_pb2

Decode = Callable[[Draft, Fields, str], None]

HEALTH_TIMES: Final = {
    "Interval": "interval", "Timeout": "timeout", "StartPeriod": "start_period", "StartInterval": "start_interval",
}
_SHORTEST: Final = 10**6  # nanoseconds
_RESTART_UNHEALTHY: Final = "pier.restart-unhealthy"
_POLICIES: Final = ("", "no", "always", "unless-stopped", "on-failure")
_LOG_DRIVERS: Final = frozenset({
    "", "awslogs", "fluentd", "gcplogs", "gelf", "journald", "json-file", "local", "none", "splunk", "syslog",
})
"""Docker's; execd tells which of them it has."""
_OF_OTHERS: Final = (exec_pb2.NAMESPACE_KIND_PID, exec_pb2.NAMESPACE_KIND_IPC)
_GPUS: Final = 64
_UINT32: Final = (1 << 32) - 1


def nothing(_draft: Draft, _fields: Fields, _key: str) -> None:
    """A value that changes nothing here."""


def spec_text(name: str) -> Decode:
    return lambda draft, fields, key: setattr(draft.spec, name, fields.text(key))


def spec_flag(name: str) -> Decode:
    return lambda draft, fields, key: setattr(draft.spec, name, fields.boolean(key))


def spec_strings(name: str) -> Decode:
    return lambda draft, fields, key: getattr(draft.spec, name).extend(fields.strings(key))


def process_text(name: str) -> Decode:
    return lambda draft, fields, key: setattr(draft.spec.process, name, fields.text(key))


def process_flag(name: str) -> Decode:
    return lambda draft, fields, key: setattr(draft.spec.process, name, fields.boolean(key))


def process_strings(name: str) -> Decode:
    return lambda draft, fields, key: getattr(draft.spec.process, name).extend(fields.strings(key))


def draft_text(name: str) -> Decode:
    return lambda draft, fields, key: setattr(draft, name, fields.text(key))


def draft_strings(name: str) -> Decode:
    return lambda draft, fields, key: getattr(draft, name).extend(fields.strings(key))


def resource(name: str) -> Decode:
    """A limit whose zero is "not given"."""

    def decode(draft: Draft, fields: Fields, key: str) -> None:
        if value := fields.integer(key):
            _set(draft.spec.resources, name, value, fields.path(key))

    return decode


def resource_text(name: str) -> Decode:
    return lambda draft, fields, key: setattr(draft.spec.resources, name, fields.text(key))


def _set(message: Any, name: str, value: int, where: str) -> None:
    try:
        setattr(message, name, value)
    except ValueError:
        raise bad(f"{where}: {value} is out of range", field=where) from None


def environment(draft: Draft, fields: Fields, key: str) -> None:
    for entry in fields.strings(key):
        if entry.startswith("=") or not entry:
            raise bad(f"invalid environment variable: {entry}", field=fields.path(key))
        draft.spec.process.env.append(_bytes(entry))


def command(draft: Draft, fields: Fields, key: str) -> None:
    draft.command = fields.words(key) or None


def entrypoint(draft: Draft, fields: Fields, key: str) -> None:
    """`[""]` takes the image's away, an empty list is not given."""
    words = fields.words(key)
    draft.entrypoint = [] if words == [""] else words or None


def image(draft: Draft, fields: Fields, key: str) -> None:
    draft.image = fields.text(key)


def working_directory(draft: Draft, fields: Fields, key: str) -> None:
    draft.spec.process.cwd = _bytes(fields.text(key))


def health_check(draft: Draft, fields: Fields, key: str) -> None:
    """Times in nanoseconds; what is 0 is the image's, or the default."""
    entry = fields.object(key)
    if entry.integer("Retries") < 0:
        raise bad("Retries in Healthcheck cannot be negative", field=entry.path("Retries"))
    check = draft.spec.health_check
    check.test.extend(_bytes(word) for word in entry.strings("Test"))
    check.retries = min(entry.integer("Retries"), _UINT32)
    for name, target in HEALTH_TIMES.items():
        if entry.integer(name) < 0 or 0 < entry.integer(name) < _SHORTEST:
            raise bad(f"{name} in Healthcheck cannot be less than 1ms", field=entry.path(name))
        if nanoseconds := entry.integer(name):
            getattr(check, target).FromNanoseconds(nanoseconds)


def volumes(draft: Draft, fields: Fields, key: str) -> None:
    """Targets of anonymous volumes."""
    for target in fields.object(key):
        if not target.startswith("/"):
            raise bad(f"invalid volume specification: '{target[:200]}': mount path must be absolute", field=key)
        draft.declared.append(_bytes(posixpath.normpath(target)))


def network_disabled(draft: Draft, fields: Fields, key: str) -> None:
    draft.network_disabled = fields.boolean(key)


def labels(draft: Draft, fields: Fields, key: str) -> None:
    """One of them is Pier's own setting, which an image's label never is."""
    given = fields.string_map(key)
    draft.spec.labels.update(given)
    if (value := given.get(_RESTART_UNHEALTHY)) is not None:
        if value not in ("true", "false"):
            raise bad(f'label {_RESTART_UNHEALTHY}: {value[:80]!a} is neither "true" nor "false"',
                      field=fields.path(key))
        draft.spec.restart_unhealthy = value == "true"


def annotation_map(draft: Draft, fields: Fields, key: str) -> None:
    draft.spec.annotations.update(fields.string_map(key))


def sysctls(draft: Draft, fields: Fields, key: str) -> None:
    draft.spec.sysctls.update(fields.string_map(key))


def stop_timeout(draft: Draft, fields: Fields, key: str) -> None:
    _set(draft.spec, "stop_timeout", fields.integer(key), fields.path(key))


def oom_kill_disable(draft: Draft, fields: Fields, key: str) -> None:
    if fields.boolean(key):
        draft.spec.resources.oom_kill_disable = True


def pids_limit(draft: Draft, fields: Fields, key: str) -> None:
    """0 and −1 are no limit."""
    _set(draft.spec.resources, "pids", fields.integer(key) or -1, fields.path(key))


def shm_size(draft: Draft, fields: Fields, key: str) -> None:
    value = fields.integer(key)
    if value < 0:
        raise bad("SHM size can not be less than 0", field=fields.path(key))
    draft.spec.shm_size = value


def oom_score_adj(draft: Draft, fields: Fields, key: str) -> None:
    if value := fields.integer(key):
        if not -1000 <= value <= 1000:
            raise bad(f"Invalid value {value}, range for oom score adj is [-1000, 1000]", field=fields.path(key))
        draft.spec.process.oom_score_adj = value


def ulimits(draft: Draft, fields: Fields, key: str) -> None:
    for entry in fields.objects(key):
        draft.spec.process.rlimits.add(
            name=entry.text("Name"), soft=entry.integer("Soft"), hard=entry.integer("Hard")
        )


def devices(draft: Draft, fields: Fields, key: str) -> None:
    for entry in fields.objects(key):
        source = entry.text("PathOnHost")
        draft.spec.devices.add(
            path_on_host=_bytes(source), path_in_container=_bytes(entry.text("PathInContainer") or source),
            permissions=entry.text("CgroupPermissions") or "rwm",
        )


def block_devices(name: str, value: str) -> Decode:
    """Limits of block devices: their paths, and the weight or rate under ``value``."""

    def decode(draft: Draft, fields: Fields, key: str) -> None:
        for entry in fields.objects(key):
            item = getattr(draft.spec.block_io, name).add(path=_bytes(entry.text("Path")))
            _set(item, value.lower(), entry.integer(value), entry.path(value))

    return decode


def device_requests(draft: Draft, fields: Fields, key: str) -> None:
    """Devices by their names in the Container Device Interface, and GPUs, which are devices of class "gpu" there."""
    for entry in fields.objects(key):
        driver, ids, count = entry.text("Driver"), entry.strings("DeviceIDs"), entry.integer("Count")
        if entry.string_map("Options"):
            where = entry.path("Options")
            raise Unimplemented(f"{where}: no driver of devices here has options", reason="NOT_BUILT", field=where)
        wanted = [as_strings(group, entry.path("Capabilities")) for group in
                  as_list(entry.raw("Capabilities"), entry.path("Capabilities"))]
        if driver == "cdi" and ids and not count:
            draft.spec.cdi_devices.extend(ids)
        elif driver in ("", "nvidia") and any("gpu" in group for group in wanted) and not (ids and count):
            names = ids or (["all"] if count < 0 else [str(number) for number in range(min(count, _GPUS))])
            draft.spec.cdi_devices.extend(f"gpu={name}" for name in names)
        else:
            shown = " ".join(f"[{' '.join(group)}]" for group in wanted)
            raise bad(f'could not select device driver "{driver[:80]}" with capabilities: [{shown[:200]}]',
                      field=fields.path(key))


def swappiness(draft: Draft, fields: Fields, key: str) -> None:
    """−1 is the kernel's."""
    value = fields.integer(key)
    if not -1 <= value <= 100:
        raise bad(f"Invalid value: {value}, valid memory swappiness range is 0-100", field=fields.path(key))
    if value >= 0:
        draft.spec.resources.memory_swappiness = value


def log(draft: Draft, fields: Fields, key: str) -> None:
    entry = fields.object(key)
    driver = entry.text("Type")
    if driver not in _LOG_DRIVERS:
        raise bad(f'error looking up logging plugin {driver[:80]}: plugin "{driver[:80]}" not found',
                  field=entry.path("Type"))
    draft.spec.log.driver = driver
    draft.spec.log.options.update(entry.string_map("Config"))


def restart_policy(draft: Draft, fields: Fields, key: str) -> None:
    entry = fields.object(key)
    name, count = entry.text("Name"), entry.integer("MaximumRetryCount")
    if name not in _POLICIES:
        raise bad(
            f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or "
            "'unless-stopped'", field=entry.path("Name"),
        )
    if count and name != "on-failure":
        raise bad(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
            field=entry.path("MaximumRetryCount"),
        )
    if not 0 <= count <= _UINT32:
        where = entry.path("MaximumRetryCount")
        raise bad("invalid restart policy: maximum retry count cannot be negative", field=where)
    draft.spec.restart_policy.name, draft.spec.restart_policy.maximum_retry_count = name, count


def network_mode(draft: Draft, fields: Fields, key: str) -> None:
    mode = fields.text(key)
    draft.network_mode = "bridge" if mode in ("", "default") else mode


def console_size(draft: Draft, fields: Fields, key: str) -> None:
    """[height, width]."""
    value = fields.raw(key)
    if not isinstance(value, list) or len(value) != 2:
        raise bad(f"{fields.path(key)}: not a list of two numbers", field=fields.path(key))
    height, width = (as_integer(entry, fields.path(key)) for entry in value)
    if not (0 <= height <= 65535 and 0 <= width <= 65535):
        raise bad(f"{fields.path(key)}: out of range", field=fields.path(key))
    draft.spec.process.terminal_height, draft.spec.process.terminal_width = height, width


def extra_hosts(draft: Draft, fields: Fields, key: str) -> None:
    draft.extra_hosts.extend(extra_host(entry, fields.path(key)) for entry in fields.strings(key))


def extra_host(text: str, where: str) -> str:
    """"NAME:ADDRESS" or "NAME=ADDRESS", an IPv6 address with or without brackets, as "NAME:ADDRESS"."""
    name, mark, address = text.partition(":" if ":" in text.partition("=")[0] or "=" not in text else "=")
    if not (name and mark and address):
        raise bad(f"bad format for add-host: {text[:80]!a}", field=where)
    return f"{name}:{address.strip('[]')}"


def _namespace(draft: Draft, kind: exec_pb2.NamespaceKind.ValueType, fields: Fields, key: str, own: set[str]) -> None:
    mode = fields.text(key)
    if mode == "host":
        draft.spec.namespaces.add(kind=kind, host=True)
    elif mode.startswith("container:") and kind in _OF_OTHERS:
        draft.spec.namespaces.add(kind=kind, container=mode.partition(":")[2])  # a name, until the create finds its id
    elif mode not in own:
        raise bad(f"invalid {key}: {mode[:80]}", field=fields.path(key))


def ipc_mode(draft: Draft, fields: Fields, key: str) -> None:
    mode = fields.text(key)
    draft.spec.shareable_ipc, draft.spec.no_shm = mode == "shareable", mode == "none"
    _namespace(draft, exec_pb2.NAMESPACE_KIND_IPC, fields, key, {"", "private", "shareable", "none"})


def pid_mode(draft: Draft, fields: Fields, key: str) -> None:
    _namespace(draft, exec_pb2.NAMESPACE_KIND_PID, fields, key, {""})


def uts_mode(draft: Draft, fields: Fields, key: str) -> None:
    _namespace(draft, exec_pb2.NAMESPACE_KIND_UTS, fields, key, {""})


def cgroup_namespace(draft: Draft, fields: Fields, key: str) -> None:
    """Not asked for, it is by the version of the host's cgroups; so "private" says more than nothing."""
    if fields.text(key) == "private":
        draft.spec.namespaces.add(kind=exec_pb2.NAMESPACE_KIND_CGROUP, fresh=True)
    else:
        _namespace(draft, exec_pb2.NAMESPACE_KIND_CGROUP, fields, key, {""})


def path_list(name: str) -> Decode:
    """Null is Docker's list, an empty one is none."""

    def decode(draft: Draft, fields: Fields, key: str) -> None:
        paths = [_bytes(entry) for entry in fields.strings(key)]
        getattr(draft.spec, name).CopyFrom(exec_pb2.PathList(paths=paths))

    return decode


def security_options(draft: Draft, fields: Fields, key: str) -> None:
    for option in fields.strings(key):
        name, _, value = option.partition("=" if "=" in option else ":")
        if name == "no-new-privileges" and value in ("", "true", "false"):
            draft.spec.process.no_new_privileges = value != "false"
        elif name == "seccomp" and value in ("unconfined", "builtin"):
            setattr(draft.spec.seccomp, value, True)
        elif name == "seccomp":
            draft.spec.seccomp.custom = value.encode()
        elif (name, value) in (("apparmor", "unconfined"), ("label", "disable")):
            continue  # neither is ever applied
        elif (name, value) == ("systempaths", "unconfined"):
            draft.spec.masked_paths.CopyFrom(exec_pb2.PathList())
            draft.spec.readonly_paths.CopyFrom(exec_pb2.PathList())
        elif name in ("apparmor", "label"):
            raise Unimplemented(f"{fields.path(key)}: {name} is not built yet", reason="NOT_BUILT", field=key)
        else:
            kind = 2 if "=" in option or ":" in option else 1  # as Docker counts its own refusals
            raise bad(f'invalid --security-opt {kind}: "{ascii(option[:80])[1:-1]}"', field=fields.path(key))


def endpoints(draft: Draft, fields: Fields, key: str) -> None:
    networks = fields.object(key)
    for name in networks:
        draft.endpoints["bridge" if name == "default" else name] = as_fields(
            networks.document[name], networks.path(name)
        )


def publish_all(draft: Draft, fields: Fields, key: str) -> None:
    draft.publish_all = fields.boolean(key)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
