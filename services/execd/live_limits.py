"""Limits of a running container changed: OCI's ``linux.resources`` written to its cgroups, v1 or v2. Calls block.

Runtimes have an ``update`` of their own, which finds the cgroups by the layout of the caller's mount namespace: crun
refuses a hybrid one, which a shim hides and execd sees. Source: Documentation/admin-guide/cgroup-v1, cgroup-v2.rst; the
conversions between v1's and v2's weights are the OCI runtime specification's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from chassis.errors import Conflict
from execd.shim import cgroups

T = TypeVar("T")

_PERIOD: Final = 100_000
_V1: Final = {
    ("memory", "limit"): ("memory", "memory.limit_in_bytes"),
    ("memory", "swap"): ("memory", "memory.memsw.limit_in_bytes"),
    ("memory", "reservation"): ("memory", "memory.soft_limit_in_bytes"),
    ("memory", "swappiness"): ("memory", "memory.swappiness"),
    ("memory", "disableOOMKiller"): ("memory", "memory.oom_control"),
    ("cpu", "shares"): ("cpu", "cpu.shares"),
    ("cpu", "period"): ("cpu", "cpu.cfs_period_us"),
    ("cpu", "quota"): ("cpu", "cpu.cfs_quota_us"),
    ("cpu", "realtimePeriod"): ("cpu", "cpu.rt_period_us"),
    ("cpu", "realtimeRuntime"): ("cpu", "cpu.rt_runtime_us"),
    ("cpu", "cpus"): ("cpuset", "cpuset.cpus"),
    ("cpu", "mems"): ("cpuset", "cpuset.mems"),
    ("pids", "limit"): ("pids", "pids.max"),
    ("blockIO", "weight"): ("blkio", "blkio.weight"),
}
_UNLIMITED: Final = {("memory", "limit"): "-1", ("memory", "swap"): "-1", ("memory", "reservation"): "-1",
                     ("cpu", "quota"): "-1", ("pids", "limit"): "max", ("memory", "disableOOMKiller"): "0",
                     ("cpu", "realtimeRuntime"): "0"}
"""What v1 takes where a limit is taken away."""


_V1_DEVICES: Final = {
    "weightDevice": "blkio.weight_device", "throttleReadBpsDevice": "blkio.throttle.read_bps_device",
    "throttleWriteBpsDevice": "blkio.throttle.write_bps_device",
    "throttleReadIOPSDevice": "blkio.throttle.read_iops_device",
    "throttleWriteIOPSDevice": "blkio.throttle.write_iops_device",
}
_V2_RATES: Final = {
    "throttleReadBpsDevice": "rbps", "throttleWriteBpsDevice": "wbps", "throttleReadIOPSDevice": "riops",
    "throttleWriteIOPSDevice": "wiops",
}


class Write(NamedTuple):
    """``undo`` is what takes it back; "" where that is what the file had."""

    controller: str
    file: str
    value: str
    undo: str = ""


def v1_writes(before: Mapping[str, Any], after: Mapping[str, Any], *, every: bool = False) -> list[Write]:
    """What changes between two ``linux.resources``, or ``every`` value of either, in an order that the kernel takes:
    the memory limit is never above that of memory and swap."""
    old, new = _flat(before), _flat(after)
    writes = []
    for key, (controller, file) in _V1.items():
        if (key not in old and key not in new) or (old.get(key) == new.get(key) and not every):
            continue
        value = new[key] if key in new else _UNLIMITED.get(key)
        if value is not None:
            writes.append(Write(controller, file, str(int(value) if isinstance(value, bool) else value)))
    if _grows(old.get(("memory", "limit")), new.get(("memory", "limit"))):
        writes.sort(key=lambda write: write.file != "memory.memsw.limit_in_bytes")
    return writes + [
        Write("blkio", file, f"{device} {after_}", f"{device} {before_}") for key, file in _V1_DEVICES.items()
        for device, before_, after_ in _changed(_devices(before, key), _devices(after, key), every=every)
    ]


def v2_writes(before: Mapping[str, Any], after: Mapping[str, Any], *, every: bool = False) -> list[Write]:
    """The same for the unified hierarchy."""
    old, new = _v2_values(before), _v2_values(after)
    writes = [Write("", file, value) for file, value in new.items() if value and (every or old[file] != value)]
    for file, values in (("io.weight", _v2_weights), ("io.max", _v2_rates)):
        writes += [Write("", file, f"{device} {after_ or _V2_NONE[file]}", f"{device} {before_ or _V2_NONE[file]}")
                   for device, before_, after_ in _changed(values(before), values(after), every=every)]
    return writes


def _v2_values(resources: Mapping[str, Any]) -> dict[str, str]:
    flat = _flat(resources)
    limit, swap = flat.get(("memory", "limit"), -1), flat.get(("memory", "swap"), -1)
    shares, weight = flat.get(("cpu", "shares")), flat.get(("blockIO", "weight"))
    quota, period = flat.get(("cpu", "quota"), -1), flat.get(("cpu", "period"), _PERIOD)
    return {
        "memory.max": _or_max(limit),
        "memory.swap.max": _or_max(swap - limit if swap > 0 and limit > 0 else -1),
        "memory.low": str(flat.get(("memory", "reservation"), 0)),
        "cpu.weight": str(1 + (shares - 2) * 9999 // 262142) if shares else "100",
        "cpu.max": f"{_or_max(quota)} {period}",
        "cpuset.cpus": str(flat.get(("cpu", "cpus"), "")),
        "cpuset.mems": str(flat.get(("cpu", "mems"), "")),
        "pids.max": _or_max(flat.get(("pids", "limit"), -1)),
        "io.weight": str(_v2_weight(weight)) if weight else "100",
    }


_V2_NONE: Final = {"io.weight": "default", "io.max": " ".join(f"{name}=max" for name in _V2_RATES.values())}
"""What takes a device's limit away."""


def _devices(resources: Mapping[str, Any], key: str) -> dict[str, int]:
    """"MAJOR:MINOR" → weight or rate."""
    entries = resources.get("blockIO", {}).get(key, ())
    return {f"{each['major']}:{each['minor']}": each.get("rate", each.get("weight", 0)) for each in entries}


def _changed(before: Mapping[str, T], after: Mapping[str, T], *, every: bool) -> Iterator[tuple[str, T | int, T | int]]:
    """(device, value before, value after), 0 for none, of those that change, or of ``every`` one."""
    for device in sorted({*before, *after}):
        if every or before.get(device) != after.get(device):
            yield device, before.get(device, 0), after.get(device, 0)


def _v2_weights(resources: Mapping[str, Any]) -> dict[str, str]:
    return {device: str(_v2_weight(weight)) for device, weight in _devices(resources, "weightDevice").items()}


def _v2_rates(resources: Mapping[str, Any]) -> dict[str, str]:
    by_name = {name: _devices(resources, key) for key, name in _V2_RATES.items()}
    devices = {device for rates in by_name.values() for device in rates}
    return {
        device: " ".join(f"{name}={_or_max(rates.get(device, 0))}" for name, rates in by_name.items())
        for device in devices
    }


def _v2_weight(weight: int) -> int:
    return 1 + (weight - 10) * 9999 // 990


def _or_max(value: int) -> str:
    return str(value) if value > 0 else "max"


def _flat(resources: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    return {(group, name): value for group, inner in resources.items() for name, value in inner.items()}


def _grows(old: int | None, new: int | None) -> bool:
    return old is not None and (new is None or new > old)


class LiveLimits:
    """The cgroups of the container at ``path`` ("pier/ID")."""

    def __init__(self, path: str) -> None:
        self._places: dict[str, Path] = {}
        for hierarchy in cgroups.hierarchies():
            directory = Path(hierarchy.mount) / path
            if directory.is_dir():
                for controller in hierarchy.controllers.split(","):
                    self._places[controller] = directory

    def change(self, before: Mapping[str, Any], after: Mapping[str, Any], *, every: bool = False) -> None:
        """All or nothing; ``every`` where it is not known what the kernel has. Conflict (LIMIT_REFUSED) where the
        kernel refuses one, such as memory below what is used."""
        v1 = any(controller in self._places for controller in ("memory", "pids", "cpu"))
        writes = (v1_writes if v1 else v2_writes)(before, after, every=every)
        done: list[tuple[Path, str]] = []
        for write in writes:
            path = self._places.get(write.controller, Path("/nonexistent")) / write.file
            try:
                was = write.undo or path.read_text().strip()
                path.write_text(write.value)
            except OSError as error:
                for other, value in reversed(done):
                    other.write_text(value)
                raise Conflict(f"{write.file}: {write.value}: {error.strerror}", reason="LIMIT_REFUSED") from error
            done.append((path, was))
