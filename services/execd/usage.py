"""What a running container uses: read from its cgroups, v1 or v2, and from its network namespace. All calls block.

Source: Documentation/admin-guide/cgroup-v1 (cpuacct, memory, blkio, pids), cgroup-v2.rst, proc(5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from execd.shim import cgroups
from pier.exec.v1 import exec_pb2

_TICK: Final = 10_000_000
"""Nanoseconds of USER_HZ's 1/100 s."""
_MICROSECOND: Final = 1000
_UNLIMITED: Final = 1 << 60
_V2_OPERATIONS: Final = {"rbytes": "read", "wbytes": "write", "dbytes": "discard",
                         "rios": "read", "wios": "write", "dios": "discard"}
_DEVICE: Final = re.compile(r"(\d+):(\d+)")


class Usage:
    """Reads of the cgroup ``path`` ("pier/ID") and of the process ``pid`` in it."""

    def __init__(self, path: str, pid: int) -> None:
        self._pid = pid
        self._v1: dict[str, Path] = {}
        self._v2: Path | None = None
        for hierarchy in cgroups.hierarchies():
            directory = Path(hierarchy.mount) / path
            if not directory.is_dir():
                continue
            if not hierarchy.controllers:
                self._v2 = directory
            for controller in hierarchy.controllers.split(","):
                self._v1[controller] = directory

    def read(self) -> exec_pb2.StatsResponse:
        """One sample. What cannot be read is not given."""
        sample = exec_pb2.StatsResponse(system_cpu=_system_cpu(), online_cpus=len(os.sched_getaffinity(0)))
        sample.time.GetCurrentTime()
        if "memory" in self._v1 or self._v2 is None:
            sample.cgroup_v1 = True
            self._read_v1(sample)
        else:
            _read_v2(sample, self._v2)
        total = _total_memory()
        if not 0 < sample.memory_limit < total:
            sample.memory_limit = total
        if not _is_hosts_network(self._pid):
            sample.interfaces.extend(_interfaces(_text(Path(f"/proc/{self._pid}/net/dev"))))
        return sample

    def _read_v1(self, sample: exec_pb2.StatsResponse) -> None:
        accounting, cpu = self._v1.get("cpuacct", Path()), self._v1.get("cpu", Path())
        sample.cpu_total = _number(accounting / "cpuacct.usage")
        used = _pairs(_text(accounting / "cpuacct.stat"))
        sample.cpu_user, sample.cpu_system = used.get("user", 0) * _TICK, used.get("system", 0) * _TICK
        sample.cpu_by_processor.extend(map(int, _text(accounting / "cpuacct.usage_percpu").split()))
        throttled = _pairs(_text(cpu / "cpu.stat"))
        sample.cpu_periods = throttled.get("nr_periods", 0)
        sample.cpu_throttled_periods = throttled.get("nr_throttled", 0)
        sample.cpu_throttled_time = throttled.get("throttled_time", 0)
        memory = self._v1.get("memory", Path())
        sample.memory_usage = _number(memory / "memory.usage_in_bytes")
        sample.memory_max_usage = _number(memory / "memory.max_usage_in_bytes")
        sample.memory_limit = _limit(memory / "memory.limit_in_bytes")
        sample.memory_failures = _number(memory / "memory.failcnt")
        sample.memory_stat.update(_pairs(_text(memory / "memory.stat")))
        pids = self._v1.get("pids", Path())
        sample.pids, sample.pids_limit = _number(pids / "pids.current"), _limit(pids / "pids.max")
        blkio = self._v1.get("blkio", Path())
        for field, name in (("bytes", "io_service_bytes"), ("operations", "io_serviced")):
            text = _text(blkio / f"blkio.throttle.{name}_recursive")
            getattr(sample, f"block_io_{field}").extend(_blkio(text))


def _read_v2(sample: exec_pb2.StatsResponse, directory: Path) -> None:
    cpu = _pairs(_text(directory / "cpu.stat"))
    sample.cpu_total = cpu.get("usage_usec", 0) * _MICROSECOND
    sample.cpu_user = cpu.get("user_usec", 0) * _MICROSECOND
    sample.cpu_system = cpu.get("system_usec", 0) * _MICROSECOND
    sample.cpu_periods = cpu.get("nr_periods", 0)
    sample.cpu_throttled_periods = cpu.get("nr_throttled", 0)
    sample.cpu_throttled_time = cpu.get("throttled_usec", 0) * _MICROSECOND
    sample.memory_usage = _number(directory / "memory.current")
    sample.memory_max_usage = _number(directory / "memory.peak")
    sample.memory_limit = _limit(directory / "memory.max")
    sample.memory_failures = _pairs(_text(directory / "memory.events")).get("max", 0)
    sample.memory_stat.update(_pairs(_text(directory / "memory.stat")))
    sample.pids, sample.pids_limit = _number(directory / "pids.current"), _limit(directory / "pids.max")
    for line in _text(directory / "io.stat").splitlines():
        device = _DEVICE.match(line)
        for word in line.split()[1:] if device else ():
            assert device is not None
            key, _, value = word.partition("=")
            if key in _V2_OPERATIONS and value.isdecimal():
                of = sample.block_io_bytes if key.endswith("bytes") else sample.block_io_operations
                of.add(major=int(device[1]), minor=int(device[2]), operation=_V2_OPERATIONS[key], value=int(value))


def _blkio(text: str) -> Iterator[exec_pb2.BlockIo]:
    """Lines of "8:0 Read 4096"; a last line "Total 4096" has no device."""
    for line in text.splitlines():
        words = line.split()
        device = _DEVICE.fullmatch(words[0]) if len(words) == 3 else None
        if device and words[2].isdecimal():
            yield exec_pb2.BlockIo(
                major=int(device[1]), minor=int(device[2]), operation=words[1].lower(), value=int(words[2]))


def _interfaces(text: str) -> Iterator[exec_pb2.InterfaceStats]:
    """/proc/PID/net/dev: two lines of titles, then "eth0: 16 counters"."""
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        counters = rest.split()
        if name.strip() != "lo" and len(counters) >= 12:
            received, sent = counters[:4], counters[8:12]
            yield exec_pb2.InterfaceStats(
                name=name.strip(),
                rx_bytes=int(received[0]), rx_packets=int(received[1]), rx_errors=int(received[2]),
                rx_dropped=int(received[3]), tx_bytes=int(sent[0]), tx_packets=int(sent[1]), tx_errors=int(sent[2]),
                tx_dropped=int(sent[3]),
            )


def _is_hosts_network(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino
    except OSError:
        return True


def _system_cpu() -> int:
    """Nanoseconds of all processors since boot, as Docker adds them up: user to steal."""
    line = _text(Path("/proc/stat")).partition("\n")[0]
    return sum(map(int, line.split()[1:9])) * _TICK


def _total_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _pairs(text: str) -> dict[str, int]:
    """Lines of "key number"."""
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if value.isdecimal():
            found[key] = int(value)
    return found


def _number(path: Path) -> int:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else 0


def _limit(path: Path) -> int:
    """0 for none: v2 says "max", v1 a number near the largest there is."""
    value = _number(path)
    return value if value < _UNLIMITED else 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
