"""What a container's spec may ask, judged once, when it is created: what is not built is refused by name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Final

from chassis import ids, signals
from chassis.errors import InvalidArgument, Unimplemented
from execd import health, policy, seccomp
from execd.logs import options
from execd.oci import block_io, capabilities, cdi, cgroup_parent, devices, limits, mounts, sysctls, users
from pier.exec.v1 import exec_pb2

RLIMITS: Final = frozenset({
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
})
RESERVED_ANNOTATIONS: Final = ("run.oci.", "org.systemd.property.", "pier.")
"""Prefixes by which annotations steer the runtime or the engine: never a client's or an image's to give."""
_HOSTNAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?")
_ARGS_MAX: Final = 1 << 20
_JOINABLE: Final = frozenset({exec_pb2.NAMESPACE_KIND_PID, exec_pb2.NAMESPACE_KIND_IPC})
_FRESH_ONLY: Final = frozenset({exec_pb2.NAMESPACE_KIND_USER})


def container(spec: exec_pb2.ContainerSpec, runtimes: frozenset[str]) -> list[str]:
    """Warnings for the caller; InvalidArgument or Unimplemented names the first field that cannot be."""
    process(spec.process, "spec.process")
    if spec.process.privileged:
        raise InvalidArgument("spec.process.privileged is for execs; a container has spec.privileged",
                              reason="BAD_FIELD", field="spec.process.privileged")
    capabilities.effective(
        spec.process.capabilities_add, spec.process.capabilities_drop, privileged=spec.privileged
    )
    warnings = limits.check(spec.resources)
    mounts.check(spec.mounts)
    mounts.check_sources(spec.mounts)
    for reference in spec.namespaces:
        namespace(reference)
    if spec.image_id:
        ids.digest(spec.image_id, "spec.image_id")
    if spec.hostname and not _HOSTNAME.fullmatch(spec.hostname):
        raise InvalidArgument(f"invalid hostname {spec.hostname[:80]!a}", reason="BAD_HOSTNAME",
                              field="spec.hostname", expected="letters, digits, '-', '.', 64 bytes at most")
    if spec.domainname and not _HOSTNAME.fullmatch(spec.domainname):
        raise InvalidArgument(f"invalid domainname {spec.domainname[:80]!a}", reason="BAD_HOSTNAME",
                              field="spec.domainname", expected="letters, digits, '-', '.', 64 bytes at most")
    signals.parse(spec.stop_signal, 15, "spec.stop_signal")
    if spec.HasField("stop_timeout") and spec.stop_timeout < -1:
        raise InvalidArgument("stop timeout is -1 or more seconds", reason="OUT_OF_RANGE", field="spec.stop_timeout")
    options.judge(spec.log)
    if spec.runtime and spec.runtime not in runtimes:
        raise InvalidArgument(f"unknown or invalid runtime name: {ascii(spec.runtime)[1:-1]}", reason="BAD_RUNTIME",
                              field="spec.runtime", expected=", ".join(sorted(runtimes)))
    for key in spec.annotations:
        if key.lower().startswith(RESERVED_ANNOTATIONS) or not key:
            raise InvalidArgument(f"annotation {key[:80]!a} is reserved", reason="RESERVED_ANNOTATION",
                                  field="spec.annotations")
    restart_policy(spec.restart_policy, "spec.restart_policy")
    if spec.restart_unhealthy and (spec.restart_policy.name in ("", "no") or not health.is_checked(spec)):
        raise InvalidArgument("restart when unhealthy needs a restart policy and a health check",
                              reason="CONTRADICTION", field="spec.restart_unhealthy")
    sysctls.check(spec.sysctls, spec.namespaces, "spec.sysctls")
    for number, device in enumerate(spec.devices):
        devices.check(device, f"spec.devices[{number}]")
    for rule in spec.device_rules:
        devices.check_rule(rule, "spec.device_rules")
    for name in spec.cdi_devices:
        cdi.check(name, "spec.cdi_devices")
    block_io.check(spec.block_io, "spec.block_io")
    for name in ("masked_paths", "readonly_paths"):
        for path in getattr(spec, name).paths:
            if not path.startswith(b"/") or b"\0" in path:
                raise InvalidArgument(f"{os.fsdecode(path)[:200]!a} is not an absolute path", reason="BAD_PATH",
                                      field=f"spec.{name}")
    _health_check(spec.health_check)
    if spec.seccomp.WhichOneof("profile") == "custom":
        seccomp.load_profile(spec.seccomp.custom)
    cgroup_parent.check(spec.cgroup_parent, "spec.cgroup_parent")
    if spec.sandbox_id:
        raise _not_built("sandbox_id in a container's spec", "spec.sandbox_id")
    return warnings


def restart_policy(value: exec_pb2.RestartPolicy, field: str) -> None:
    """InvalidArgument (BAD_POLICY)."""
    if value.name not in policy.NAMES:
        raise InvalidArgument(f"unknown restart policy {ascii(value.name)[:80]}", reason="BAD_POLICY",
                              field=f"{field}.name", expected=", ".join(policy.NAMES[1:]))


def environment(values: Iterable[bytes], field: str) -> None:
    """InvalidArgument for entries that a caller may not put beneath the spec's environment."""
    given = list(values)
    if any(b"\0" in value for value in given):
        raise InvalidArgument(f"{field}: holds a zero byte", reason="BAD_FIELD", field=field)
    if any(value.find(b"=") < 1 for value in given):
        raise InvalidArgument(f"{field}: holds an entry without a name", reason="BAD_FIELD", field=field,
                              expected="NAME=value")
    if sum(map(len, given)) > _ARGS_MAX:
        raise InvalidArgument(f"{field}: more than {_ARGS_MAX} bytes", reason="TOO_LONG", field=field,
                              expected=f"at most {_ARGS_MAX}")


def process(spec: exec_pb2.Process, field: str) -> None:
    """The parts that a container's first process and an exec have in common."""
    if not spec.args or not spec.args[0]:
        raise InvalidArgument("no command specified", reason="NO_COMMAND", field=f"{field}.args")
    size = 0
    for name, values in (("args", spec.args), ("env", spec.env)):
        for value in values:
            size += len(value)
            if b"\0" in value:
                raise InvalidArgument(f"{field}.{name}: holds a zero byte", reason="BAD_FIELD", field=f"{field}.{name}")
    if size > _ARGS_MAX:
        raise InvalidArgument(f"{field}: {size} bytes of arguments and environment are too many", reason="TOO_LONG",
                              field=f"{field}.args", expected=f"at most {_ARGS_MAX}")
    if spec.cwd and (not spec.cwd.startswith(b"/") or b"\0" in spec.cwd):
        raise InvalidArgument(
            f"the working directory '{ascii(spec.cwd)[2:-1]}' is invalid, it needs to be an absolute path",
            reason="BAD_CWD", field=f"{field}.cwd",
        )
    users.check(spec.user, f"{field}.user")
    for group in spec.additional_groups:
        if ":" in group:
            raise InvalidArgument(f"{field}.additional_groups: {group!a} is no group", reason="BAD_USER",
                                  field=f"{field}.additional_groups")
        users.check(group, f"{field}.additional_groups")
    capabilities.parse(spec.capabilities_add, f"{field}.capabilities_add")
    capabilities.parse(spec.capabilities_drop, f"{field}.capabilities_drop")
    if spec.HasField("oom_score_adj") and not -1000 <= spec.oom_score_adj <= 1000:
        raise InvalidArgument(f"Invalid value {spec.oom_score_adj}, range for oom score adj is [-1000, 1000]",
                              reason="OUT_OF_RANGE", field=f"{field}.oom_score_adj")
    for item in spec.rlimits:
        _rlimit(item, f"{field}.rlimits")


def _health_check(check: exec_pb2.HealthCheck) -> None:
    if check.test and (check.test[0] not in (b"NONE", b"CMD", b"CMD-SHELL") or (
            check.test[0] != b"NONE" and len(check.test) < 2)):
        raise InvalidArgument(f"Unknown type {check.test[0][:40]!a} in healthcheck", reason="BAD_HEALTH_CHECK",
                              field="spec.health_check.test", expected="NONE, CMD or CMD-SHELL, and a command")
    for name in ("interval", "timeout", "start_period", "start_interval"):
        nanoseconds = getattr(check, name).ToNanoseconds()
        if nanoseconds and nanoseconds < 1_000_000:
            raise InvalidArgument(f"{name} in Healthcheck cannot be less than 1ms", reason="OUT_OF_RANGE",
                                  field=f"spec.health_check.{name}", expected="0 or at least 1 ms")


def _rlimit(item: exec_pb2.Rlimit, field: str) -> None:
    if item.name not in RLIMITS:
        raise InvalidArgument(f"invalid ulimit type: {item.name[:40]}", reason="BAD_RLIMIT", field=field,
                              expected=", ".join(sorted(RLIMITS)))
    if item.soft < -1 or item.hard < -1 or (item.hard != -1 and not 0 <= item.soft <= item.hard):
        raise InvalidArgument(
            f"ulimit {item.name}: soft limit must be less than or equal to hard limit: {item.soft} > {item.hard}",
            reason="BAD_RLIMIT", field=field,
        )


def namespace(reference: exec_pb2.NamespaceRef) -> None:
    """One reference: a kind and a source that are built."""
    source = reference.WhichOneof("source")
    if reference.kind == exec_pb2.NAMESPACE_KIND_UNSPECIFIED or source is None:
        raise InvalidArgument("a namespace needs a kind and a source", reason="BAD_FIELD", field="spec.namespaces")
    if reference.kind in _FRESH_ONLY or source == "sandbox" or (
            source == "container" and reference.kind not in _JOINABLE):
        raise _not_built(f"namespaces of this kind from {source}", "spec.namespaces")
    if source == "path" and (not reference.path.startswith(b"/") or b"\0" in reference.path):
        raise InvalidArgument("a namespace's path is absolute", reason="BAD_FIELD", field="spec.namespaces.path")
    if source == "path" and reference.kind != exec_pb2.NAMESPACE_KIND_NETWORK:
        raise _not_built("pinned namespaces other than network ones", "spec.namespaces")


def _not_built(what: str, field: str) -> Unimplemented:
    return Unimplemented(f"{what}: not built yet", reason="NOT_BUILT", field=field)
