"""GET /containers/{name}/top and stats: what a container's processes are, and what they use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

from aiohttp import web

from chassis.errors import Conflict, Unimplemented
from gateway.rest import wire
from gateway.rest.call import Call
from gateway.rest.errors import bad
from gateway.rest.find import find_container
from gateway.rest.routes import Routes
from pier.exec.v1 import exec_pb2

Process = exec_pb2.ProcessInfo

routes = Routes()


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _command(process: Process) -> str:
    return " ".join(wire.text(part) for part in process.args)


def _user(process: Process) -> str:
    """The host's name of the user, as ps would say; its own files are asked, no name service."""
    with contextlib.suppress(OSError), open("/etc/passwd", encoding="utf-8", errors="replace") as file:
        for line in file:
            name, uid = [*line.split(":"), "", "", ""][0:3:2]
            if uid == str(process.uid):
                return name
    return str(process.uid)


_COLUMNS: Final[Mapping[str, tuple[str, Callable[[Process], str]]]] = {
    # ps's keyword: (its title, the value)
    "uid": ("UID", _user),
    "user": ("USER", _user),
    "pid": ("PID", lambda process: str(process.pid)),
    "ppid": ("PPID", lambda process: str(process.parent_pid)),
    "c": ("C", lambda _: "0"),
    "stime": ("STIME", lambda process: wire.rfc3339(process.started_at)[11:16]),
    "tty": ("TTY", lambda process: process.terminal or "?"),
    "tname": ("TTY", lambda process: process.terminal or "?"),
    "time": ("TIME", lambda process: _clock(process.cpu_time.seconds)),
    "cmd": ("CMD", _command),
    "args": ("COMMAND", _command),
    "command": ("COMMAND", _command),
    "comm": ("COMMAND", lambda process: _command(process).partition(" ")[0].rpartition("/")[2]),
}
_FULL: Final = ("uid", "pid", "ppid", "c", "stime", "tty", "time", "cmd")


@routes.get("/containers/{name}/top")
async def top(call: Call) -> web.StreamResponse:
    """The processes as the kernel tells them: no ps is run, so what of its options can be answered is -ef and -o."""
    columns = _columns(call.query.text("ps_args"))
    container = await find_container(call, call.path["name"])
    if container.status.state == exec_pb2.CONTAINER_STATE_RESTARTING:
        raise Conflict(f"container {container.id} is restarting, wait until the container is running")
    services = call.engine.services
    answer: exec_pb2.ListProcessesResponse = await services.execd.call(
        services.containers.ListProcesses, exec_pb2.ListProcessesRequest(id=container.id), timeout=5
    )
    return call.json({
        "Titles": [_COLUMNS[name][0] for name in columns],
        "Processes": [[_COLUMNS[name][1](process) for name in columns] for process in answer.processes],
    })


def _columns(arguments: str) -> tuple[str, ...]:
    words = arguments.replace("=", " ").split()
    if not words or words in (["-ef"], ["-e", "-f"], ["ef"]):
        return _FULL
    flag, *rest = words
    if flag.lstrip("-") in ("o", "eo"):
        columns = tuple(",".join(rest).split(","))
        for name in columns:
            if name not in _COLUMNS:
                raise bad(f"ps_args: unknown column {name[:40]!a}", field="ps_args", expected=", ".join(_COLUMNS))
        return columns
    raise Unimplemented(f"ps_args: {arguments[:80]!a}: only -ef and -o COLUMN,… are supported", reason="NOT_BUILT",
                        field="ps_args")


@routes.get("/containers/{name}/stats")
async def stats(call: Call) -> web.StreamResponse:
    """One object a second; with stream=0 one, of two samples unless ``one-shot``; zeros where it does not run."""
    container = await find_container(call, call.path["name"])
    services = call.engine.services
    streams = call.query.boolean("stream", True)
    once = call.query.boolean("one-shot")
    if streams and once:
        raise bad("cannot have stream=true and one-shot=true", field="one-shot")
    before = exec_pb2.StatsResponse()
    request = exec_pb2.StatsRequest(id=container.id, once=once)
    async with aclosing(services.execd.stream(services.containers.Stats, request)) as samples:
        if not streams:
            async for sample in samples:
                if once or before.HasField("time") or not sample.HasField("time"):
                    return call.json(as_json(container, before, sample))
                before = sample
            return call.json(as_json(container, before, exec_pb2.StatsResponse()))
        response = await call.stream()
        async for sample in samples:
            await response.write(wire.encode(as_json(container, before, sample)))
            before = sample
    return response


def as_json(
    container: exec_pb2.Container, before: exec_pb2.StatsResponse, sample: exec_pb2.StatsResponse
) -> dict[str, Any]:
    """Docker's form of a sample; ``before`` is the one that rates are told from."""
    known = sample.HasField("time")
    answer: dict[str, Any] = {
        "id": container.id, "name": f"/{container.name}", "os_type": "linux",
        "read": wire.rfc3339(sample.time) if known else wire.ZERO_TIME,
        "preread": wire.rfc3339(before.time) if before.HasField("time") else wire.ZERO_TIME,
        "num_procs": 0, "storage_stats": {}, "cpu_stats": _cpu(sample), "precpu_stats": _cpu(before),
        "pids_stats": {}, "memory_stats": {}, "blkio_stats": _blkio(sample),
    }
    if known:
        answer["pids_stats"] = {"current": sample.pids}
        if sample.pids_limit:
            answer["pids_stats"]["limit"] = sample.pids_limit
        answer["memory_stats"] = {
            "usage": sample.memory_usage, "limit": sample.memory_limit, "stats": dict(sample.memory_stat),
        }
        if sample.cgroup_v1:
            answer["memory_stats"]["max_usage"] = sample.memory_max_usage
            if sample.memory_failures:
                answer["memory_stats"]["failcnt"] = sample.memory_failures
        if sample.interfaces:
            answer["networks"] = {
                each.name: {
                    "rx_bytes": each.rx_bytes, "rx_packets": each.rx_packets, "rx_errors": each.rx_errors,
                    "rx_dropped": each.rx_dropped, "tx_bytes": each.tx_bytes, "tx_packets": each.tx_packets,
                    "tx_errors": each.tx_errors, "tx_dropped": each.tx_dropped,
                } for each in sample.interfaces
            }
    return answer


def _cpu(sample: exec_pb2.StatsResponse) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "total_usage": sample.cpu_total, "usage_in_kernelmode": sample.cpu_system, "usage_in_usermode": sample.cpu_user,
    }
    if sample.cpu_by_processor:
        usage["percpu_usage"] = list(sample.cpu_by_processor)
    answer: dict[str, Any] = {
        "cpu_usage": usage,
        "throttling_data": {
            "periods": sample.cpu_periods, "throttled_periods": sample.cpu_throttled_periods,
            "throttled_time": sample.cpu_throttled_time,
        },
    }
    if sample.HasField("time"):
        answer |= {"system_cpu_usage": sample.system_cpu, "online_cpus": sample.online_cpus}
    return answer


def _blkio(sample: exec_pb2.StatsResponse) -> dict[str, Any]:
    def entries(of: Any) -> list[dict[str, Any]] | None:
        return [
            {"major": each.major, "minor": each.minor, "op": each.operation, "value": each.value} for each in of
        ] or ([] if sample.cgroup_v1 else None)

    none = dict.fromkeys((
        "io_queue_recursive", "io_service_time_recursive", "io_wait_time_recursive", "io_merged_recursive",
        "io_time_recursive", "sectors_recursive",
    ), entries(()))
    return {
        "io_service_bytes_recursive": entries(sample.block_io_bytes),
        "io_serviced_recursive": entries(sample.block_io_operations), **none,
    }
