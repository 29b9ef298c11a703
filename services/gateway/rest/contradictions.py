"""What Docker's settings of a container forbid each other, looked at when all have been read."""

from __future__ import annotations

from gateway.rest.body import Fields
from gateway.rest.draft import Draft
from gateway.rest.errors import bad
from gateway.rest.mount_settings import anonymous_volume
from pier.exec.v1 import exec_pb2


def check(draft: Draft, host: Fields) -> None:
    """400 in Docker's words; a volume is added for each declared path where nothing is mounted."""
    if draft.spec.auto_remove and draft.spec.restart_policy.name not in ("", "no"):
        raise bad("can't create 'AutoRemove' container with restart policy", field=host.path("AutoRemove"))
    if draft.spec.hostname and any(
        space.kind == exec_pb2.NAMESPACE_KIND_UTS and space.host for space in draft.spec.namespaces
    ):
        raise bad("conflicting options: hostname and the UTS mode", field=host.path("UTSMode"))
    if draft.network_disabled:
        draft.network_mode = "none"
    if draft.network_mode == "host" and any(key.startswith("net.") for key in draft.spec.sysctls):
        raise bad("sysctls of the network are not allowed in the host's network namespace", field=host.path("Sysctls"))
    taken = set(draft.targets())
    draft.volumes += [anonymous_volume(target) for target in draft.declared if target not in taken]
    targets = draft.targets()
    for target in targets:
        if targets.count(target) > 1:
            raise bad(f"Duplicate mount point: {target.decode(errors='replace')}", field=host.path("Mounts"))
