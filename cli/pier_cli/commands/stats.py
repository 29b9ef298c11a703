"""``pier stats``: what containers use, as a table that is written anew each second."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.flags import Flag
from pier_cli.formats import LIST_FORMAT, print_list, short_id
from pier_cli.gotemplate import Fields
from pier_cli.many import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.flags import Options

    Sample = dict[str, Any]

_SECOND = 1.0
_CLEAR = "\033[2J\033[H"
_TABLE = (
    "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}"
)
_HEADERS = {
    "ID": "CONTAINER ID", "Container": "CONTAINER", "Name": "NAME", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %", "NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS",
}


def _fields(asked: str, before: Sample, sample: Sample, truncate: bool) -> Fields:
    from pier_cli.units import binary_size, human_size

    memory = sample.get("memory_stats") or {}
    used, limit = _used_memory(memory), memory.get("limit", 0)
    read, written = _blocks(sample)
    networks = (sample.get("networks") or {}).values()

    def pair(first: float, second: float) -> str:
        return f"{human_size(first, 3)} / {human_size(second, 3)}"

    return Fields("formatter.StatsContext", {
        "BlockIO": lambda: pair(read, written),
        "CPUPerc": lambda: f"{_cpu(before, sample):.2f}%",
        "Container": lambda: asked,
        "ID": lambda: short_id(sample["id"]) if truncate else sample["id"],
        "MemPerc": lambda: f"{used / limit * 100 if limit else 0:.2f}%",
        "MemUsage": lambda: f"{binary_size(used)} / {binary_size(limit)}",
        "Name": lambda: sample["name"].removeprefix("/"),
        "NetIO": lambda: pair(sum(each["rx_bytes"] for each in networks), sum(each["tx_bytes"] for each in networks)),
        "PIDs": lambda: str((sample.get("pids_stats") or {}).get("current", 0)),
    })


def _used_memory(memory: dict[str, Any]) -> int:
    """Without the page cache that the kernel would give up first, as docker counts."""
    usage: int = memory.get("usage", 0)
    counts = memory.get("stats") or {}
    idle: int = counts.get("total_inactive_file", counts.get("inactive_file", 0))
    return usage - idle if idle < usage else usage


def _cpu(before: Sample, sample: Sample) -> float:
    def spent(of: Sample) -> tuple[int, int]:
        cpu = of.get("cpu_stats") or {}
        return (cpu.get("cpu_usage") or {}).get("total_usage", 0), cpu.get("system_cpu_usage", 0)

    (own, whole), (own_before, whole_before) = spent(sample), spent(before)
    if own <= own_before or whole <= whole_before:
        return 0.0
    processors: int = sample["cpu_stats"].get("online_cpus", 1)
    return (own - own_before) / (whole - whole_before) * processors * 100


def _blocks(sample: Sample) -> tuple[int, int]:
    entries = (sample.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    return tuple(
        sum(each["value"] for each in entries if each["op"].lower() == word) for word in ("read", "write")
    )


def _names(context: Context, options: Options, arguments: list[str]) -> list[str]:
    """Whose samples to take now: those that were asked for, or all there are."""
    if arguments:
        return arguments
    query = [("all", "1")] if options.flag("all") else []
    return [item["Id"] for item in context.engine.call("GET", "/containers/json", query)]


def _samples(context: Context, names: list[str], *, strict: bool) -> dict[str, Sample]:
    """One sample each. ``strict``: one that is not there is an error, else it is left out."""
    from pier_cli.failure import EngineError

    found = {}
    query = (("stream", "0"), ("one-shot", "1"))
    for name in names:
        try:
            found[name] = context.engine.call("GET", f"{container_path(name)}/stats", query)
        except EngineError as error:
            if strict or error.status != 404:
                raise
    return found


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    import time

    truncate = not options.flag("no-trunc")
    before = _samples(context, _names(context, options, arguments), strict=bool(arguments))
    while True:
        time.sleep(_SECOND)
        samples = _samples(context, _names(context, options, arguments), strict=False)
        rows = [
            _fields(name if arguments else short_id(name), before.get(name, {}), sample, truncate)
            for name, sample in samples.items()
        ]
        if not options.flag("no-stream"):
            out.put(_CLEAR)
        print_list(options.text("format"), _TABLE, _HEADERS, rows)
        if options.flag("no-stream") or (arguments and not samples):
            return 0
        out.flush()
        before = samples


COMMAND = Command(_run, "[OPTIONS] [CONTAINER...]", (
    Flag("all", "a", "bool", "Show all containers (default shows just running)"),
    LIST_FORMAT,
    Flag("no-stream", "", "bool", "Disable streaming stats and only pull the first result"),
    Flag("no-trunc", "", "bool", "Do not truncate output"),
))
